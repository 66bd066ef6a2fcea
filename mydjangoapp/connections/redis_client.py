"""The client of one Redis server."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, ResponseError, TimeoutError
from redis.retry import Retry

from .breaker import Breaker
from .redis_lives import connected

if TYPE_CHECKING:
    from redis import Redis

CONNECT_SECONDS = 1.0  # a server that is there answers a SYN at once; a black hole never does
MAX_CONNECTIONS = 256  # per process: one a thread, and a Celery child needs three
MAX_SERVERS = 1_024  # that a process keeps clients of


@lru_cache(maxsize=MAX_SERVERS)
def client_of(url: str, timeout: float, retries: int, *, in_haste: bool = False) -> Redis:
    """The client of the server at this URL, the same for every caller; it connects at the first command.

    A command may take `timeout` seconds, and is repeated `retries` times when the connection fails; if that
    is `in_haste`, not when it took too long.
    """
    errors = (ConnectionError,) if in_haste else (ConnectionError, TimeoutError)
    return redis.Redis.from_url(
        url,
        protocol=2,
        decode_responses=False,
        socket_connect_timeout=min(CONNECT_SECONDS, timeout),
        socket_timeout=timeout,
        socket_keepalive=True,
        health_check_interval=30,
        max_connections=MAX_CONNECTIONS,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), retries=retries, supported_errors=errors),
        client_name="mydjangoapp",
        redis_connect_func=connected,
    )


@lru_cache(maxsize=MAX_SERVERS)
def breaker_of(url: str) -> Breaker:
    """Keeps callers from a server that has run into its time-out a moment ago."""
    return Breaker(seconds=1.0)


def send(client: Redis, *commands: tuple[Any, ...]) -> list[Any]:
    """Sends commands together on one connection; returns their replies. One round trip, at less cost than by
    redis-py's client. Repeated as that would do it: everything in it may be. Raises redis-py's errors, also
    the first that is a reply."""
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        replies: list[Any] = connection.retry.call_with_retry(
            lambda: _round_trip(connection, commands), lambda error: connection.disconnect()
        )
        return replies
    finally:
        pool.release(connection)


def _round_trip(connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    unread = len(commands)
    replies = []
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        while unread:
            unread -= 1
            replies.append(connection.read_response())
        return replies
    except ResponseError:
        if unread:
            connection.disconnect()  # the next caller must not read the rest
        raise
    except BaseException:
        connection.disconnect()
        raise
