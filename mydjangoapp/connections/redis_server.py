"""A Redis that the app keeps something in: how it is connected to, how its errors become the app's own,
and how scripts are sent to it.

Nothing here connects at import, and one client serves all threads of a process. redis-py would
repeat a timed-out command ten times by itself; here that is set to once, and safe only because
everything that is sent through it may be repeated.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, NoScriptError, RedisError, ResponseError, TimeoutError
from redis.retry import Retry

from ..conf import conf
from ..exceptions import FeedError
from . import patience
from .breaker import Breaker

if TYPE_CHECKING:
    from redis import Redis

OFF = "off"  # the URL of no server
CONNECT_SECONDS = 1.0  # a server that is there answers a SYN at once; a black hole never does
_INCLUDE = re.compile(r"^--#include (\w+)$", re.MULTILINE)
MAX_CONNECTIONS = 256  # per process: one a thread, and a Celery child needs three


@dataclass(frozen=True)
class Store:
    """`title` and `setting` are for messages; `timeout`: seconds a command may take; `retries`: how
    often it is repeated when the connection fails."""

    title: str
    setting: str
    url: str
    timeout: float
    unavailable: type[FeedError]
    refused: type[FeedError]
    retries: int = 1

    def client(self) -> Redis:
        """Its client, which connects at the first command.

        For the steps of a commit, which a request waits for, one that does not wait for long.
        """
        if patience.is_bounded():
            return _client(self.url, min(self.timeout, conf.PUBLISH_TIMEOUT), self.retries, in_haste=True)
        return _client(self.url, self.timeout, self.retries)

    @property
    def server(self) -> str:
        """Host and port, without user and password, for messages."""
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return parts.path
        return f"{parts.hostname or '127.0.0.1'}:{parts.port or 6379}"

    @contextmanager
    def edge(self) -> Iterator[None]:
        """Turns redis-py's errors into `unavailable` and `refused`.

        After a command that ran into its time-out none is sent for a second: see `Breaker`.
        """
        if self.url == OFF:
            raise self.unavailable(
                f"The {self.title} is switched off: MYDJANGOAPP[{self.setting!r}] is 'off'."
            )
        breaker = _breaker(self.url)
        if not breaker.allows():
            raise self._gone("it did not a moment ago")
        if patience.is_over():
            raise self._gone("other servers have used up the time that a commit may take")
        try:
            with patience.waiting():
                yield
            breaker.reset()
        except TimeoutError as error:
            breaker.trip()
            raise self._gone(error) from error
        except ConnectionError as error:
            raise self._gone(error) from error
        except RedisError as error:
            breaker.reset()
            raise self.refused(
                f"The {self.title} at {self.server} refused a command: {error}. If it is out of memory, "
                "raise its maxmemory (policy noeviction); if it is a replica, point "
                f"{self.setting} at the primary."
            ) from error

    def _gone(self, why: object) -> FeedError:
        return self.unavailable(
            f"The {self.title} at {self.server} does not answer ({why}). "
            f"Check that it runs and that MYDJANGOAPP[{self.setting!r}] names it."
        )

    def call(self, *commands: tuple[Any, ...]) -> Any:
        """See `send`. Raises redis-py's errors, so it is to be called within `edge`."""
        return send(self.client(), *commands)

    def transaction(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Runs commands at one moment; returns their replies, errors among them. See `call`."""
        replies: list[Any] = self.call(("MULTI",), *commands, ("EXEC",))
        return replies


def send(client: Redis, *commands: tuple[Any, ...]) -> Any:
    """Sends commands together; returns the reply of the last. One round trip, at less cost than by redis-py's
    client. Repeated as that would do it: everything in it may be. Raises redis-py's errors."""
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        return connection.retry.call_with_retry(
            lambda: _round_trip(connection, commands), lambda error: connection.disconnect()
        )
    finally:
        pool.release(connection)


def _round_trip(connection: Any, commands: Sequence[tuple[Any, ...]]) -> Any:
    unread = len(commands)
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        while unread:
            unread -= 1
            reply = connection.read_response()
        return reply
    except ResponseError:
        if unread:
            connection.disconnect()  # the next caller must not read the rest
        raise
    except BaseException:
        connection.disconnect()
        raise


@lru_cache(maxsize=32)
def _client(url: str, timeout: float, retries: int, *, in_haste: bool = False) -> Redis:
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
    )


@lru_cache(maxsize=32)
def _breaker(url: str) -> Breaker:
    return Breaker(seconds=1.0)


@dataclass(frozen=True)
class Script:
    """One operation of `{package}/lua/{name}.lua`, read from the package once, sent by its hash, and sent
    whole where Redis forgot it.

    It begins with `#!lua` where the server knows that (7.0), so that a server that is out of memory
    refuses it before its first write. Redis 6.2 gets the plain text.
    """

    name: str
    package: str
    store: Callable[[], Store]

    @cached_property
    def plain(self) -> str:
        """The file's text; a line `--#include name` stands for the text of another."""
        return self._file(self.name)

    def _file(self, name: str) -> str:
        text = resources.files(self.package).joinpath("lua", f"{name}.lua").read_text("utf-8")
        return _INCLUDE.sub(lambda line: self._file(line[1]), text)

    def text(self, redis: Redis) -> str:
        """The script as this server is to get it. One round trip per server and process."""
        return f"#!lua\n{self.plain}" if _knows_shebang(redis) else self.plain

    def commands(
        self, redis: Redis, keys: list[str], args: list[Any]
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The call by hash, and the call by text for a server that answers NOSCRIPT to the first."""
        text = self.text(redis)
        rest = (len(keys), *keys, *args)
        return ("EVALSHA", _sha1(text), *rest), ("EVAL", text, *rest)

    def __call__(self, keys: list[str], args: list[Any]) -> Any:
        """Runs it. One round trip, two the first time. Raises the store's `unavailable` and `refused`."""
        store = self.store()
        with store.edge():
            by_hash, by_text = self.commands(store.client(), keys, args)
            try:
                return store.call(by_hash)
            except NoScriptError:
                return store.call(by_text)


@cache
def _sha1(text: str) -> str:
    """Redis's name of a script."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@cache
def _knows_shebang(redis: Redis) -> bool:
    version = str(redis.info("server")["redis_version"])
    return int(version.split(".")[0]) >= 7
