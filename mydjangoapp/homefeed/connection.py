"""How the app connects to the feeds' Redis, and how Redis's errors become the app's own.

Nothing here connects at import, and one client serves all threads of a process. redis-py would
repeat a timed-out command ten times by itself; here that is set to once or twice, and safe only
because everything that is sent through it may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, RedisError, TimeoutError
from redis.retry import Retry

from ..breaker import Breaker
from ..conf import conf
from ..exceptions import FeedsRefused, FeedsUnavailable

if TYPE_CHECKING:
    from redis import Redis

CONNECT_SECONDS = 1.0  # a server that is there answers a SYN at once; a black hole never does
MAX_CONNECTIONS = 256  # per process: one a thread, and a Celery child needs three


def client() -> Redis:
    """The client of the configured `REDIS_URL`; it connects at the first command."""
    return _client(conf.REDIS_URL, conf.REDIS_TIMEOUT)


@lru_cache(maxsize=8)
def _client(url: str, timeout: float) -> Redis:
    return redis.Redis.from_url(
        url,
        protocol=2,
        decode_responses=False,
        socket_connect_timeout=min(CONNECT_SECONDS, timeout),
        socket_timeout=timeout,
        socket_keepalive=True,
        health_check_interval=30,
        max_connections=MAX_CONNECTIONS,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), retries=1),
        client_name="mydjangoapp",
    )


def server() -> str:
    """Host and port of the feeds' Redis, without user and password, for messages."""
    parts = urlsplit(conf.REDIS_URL)
    if parts.scheme == "unix":
        return parts.path
    return f"{parts.hostname or '127.0.0.1'}:{parts.port or 6379}"


@contextmanager
def edge() -> Iterator[None]:
    """Turns redis-py's errors into `FeedsUnavailable` and `FeedsRefused`.

    After a command that ran into its time-out none is sent for a second: see `Breaker`.
    """
    breaker = _breaker(conf.REDIS_URL)
    if not breaker.allows():
        raise _unavailable("it did not a moment ago")
    try:
        yield
        breaker.reset()
    except TimeoutError as error:
        breaker.trip()
        raise _unavailable(error) from error
    except ConnectionError as error:
        raise _unavailable(error) from error
    except RedisError as error:
        breaker.reset()
        raise FeedsRefused(
            f"The feeds' Redis at {server()} refused a command: {error}. If it is out of memory, raise its "
            "maxmemory (policy noeviction); if it is a replica, point REDIS_URL at the primary."
        ) from error


def _unavailable(why: object) -> FeedsUnavailable:
    return FeedsUnavailable(
        f"The feeds' Redis at {server()} does not answer ({why}). "
        "Check that it runs and that MYDJANGOAPP['REDIS_URL'] names it."
    )


@lru_cache(maxsize=8)
def _breaker(url: str) -> Breaker:
    return Breaker(seconds=1.0)


def eviction_policy() -> str | None:
    """The server's `maxmemory-policy`, None where a provider hides it. Raises `FeedsUnavailable`."""
    try:
        with edge():
            policies: dict[str, str] = client().config_get("maxmemory-policy")  # type: ignore[assignment]
    except FeedsRefused:
        return None
    value = next(iter(policies.values()), None)
    return value.decode() if isinstance(value, bytes) else value


def persists() -> bool | None:
    """Whether the server writes an append-only file, None where a provider hides it. Raises
    `FeedsUnavailable`."""
    try:
        with edge():
            info: dict[str, Any] = client().info("persistence")
    except FeedsRefused:
        return None
    return bool(info.get("aof_enabled"))


def ping() -> None:
    """Returns if the server answers, raises `FeedsUnavailable` if not. One round trip."""
    with edge():
        client().ping()
