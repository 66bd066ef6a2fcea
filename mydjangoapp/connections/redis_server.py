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
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from redis.exceptions import ClusterDownError, ConnectionError, NoScriptError, RedisError, TimeoutError

from ..conf import conf
from ..exceptions import FeedError
from . import patience
from .breaker import Breaker
from .redis_client import breaker_of, client_of, send
from .redis_cluster import Cluster, cluster_of
from .redis_lives import Kept, Lives
from .redis_topology import is_cluster

if TYPE_CHECKING:
    from redis import Redis

OFF = "off"  # the URL of no server
_INCLUDE = re.compile(r"^--#include (\w+)$", re.MULTILINE)


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
        in_haste = patience.is_bounded()
        timeout = min(self.timeout, conf.PUBLISH_TIMEOUT) if in_haste else self.timeout
        if is_cluster(self.url):
            # It has the commands of one.
            return cast("Redis", cluster_of(self.url, timeout, self.retries, in_haste=in_haste))
        return client_of(self.url, timeout, self.retries, in_haste=in_haste)

    def lives(self, *, now: bool = False) -> Lives:
        """The present lives of a cluster's nodes: see `Cluster.lives`."""
        client = self.client()
        return client.lives(now=now) if isinstance(client, Cluster) else Lives()

    def kept(self, key_in: Callable[[int], str]) -> Kept | None:
        """What a cluster's nodes have for good: see `Cluster.kept`. None for a single server. To be called
        within `edge`."""
        client = self.client()
        return client.kept(key_in) if isinstance(client, Cluster) else None

    def keeps(self, key: str) -> bool:
        """Whether the node of this key has for good what it acknowledged before, see `Cluster.keeps`; True
        for a single server, of which time tells. To be called within `edge`."""
        client = self.client()
        return client.keeps(key) if isinstance(client, Cluster) else True

    @property
    def is_cluster(self) -> bool:
        """Whether its keys are on several servers."""
        return is_cluster(self.url)

    def nodes(self) -> list[Redis]:
        """The client of each server: the one, or the primaries of the cluster. To be called within `edge`."""
        client = self.client()
        return client.nodes() if isinstance(client, Cluster) else [client]

    @property
    def server(self) -> str:
        """Host and port, without user and password, for messages."""
        parts = urlsplit(self.url)
        if is_cluster(self.url):
            return parts.netloc.rpartition("@")[2]
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
        # Each node of a cluster has a breaker of its own: see `Cluster`.
        breaker = Breaker(0) if is_cluster(self.url) else breaker_of(self.url)
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
        except (ConnectionError, ClusterDownError) as error:
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

    def call(self, *commands: tuple[Any, ...]) -> list[Any]:
        """See `send`. Raises redis-py's errors, so it is to be called within `edge`."""
        client = self.client()
        return client.call(*commands) if isinstance(client, Cluster) else send(client, *commands)

    def transaction(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Runs commands at one moment, in a cluster of keys of one slot; returns their replies, errors among
        them. See `call`."""
        replies: list[Any] = self.call(("MULTI",), *commands, ("EXEC",))[-1]
        return replies

    def call_and_wait(self, command: tuple[Any, ...], seconds: float) -> tuple[Any, bool]:
        """See `Cluster.call_and_wait`; a single server waits for nobody. To be called within `edge`."""
        client = self.client()
        if isinstance(client, Cluster):
            return client.call_and_wait(command, seconds)
        return send(client, command)[0], True


Answer = TypeVar("Answer")


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
    flags: str = ""  # of the first line

    @cached_property
    def plain(self) -> str:
        """The file's text; a line `--#include name` stands for the text of another."""
        return self._file(self.name)

    def _file(self, name: str) -> str:
        text = resources.files(self.package).joinpath("lua", f"{name}.lua").read_text("utf-8")
        return _INCLUDE.sub(lambda line: self._file(line[1]), text)

    def text(self, redis: Redis) -> str:
        """The script as this server is to get it. One round trip per server and process."""
        # `manage.py check` refuses nodes of a cluster that are older than 7.0.
        is_new = isinstance(redis, Cluster) or _knows_shebang(redis)
        return f"#!lua{self.flags}\n{self.plain}" if is_new else self.plain

    def commands(
        self, redis: Redis, keys: list[str], args: list[Any]
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The call by hash, and the call by text for a server that answers NOSCRIPT to the first."""
        text = self.text(redis)
        rest = (len(keys), *keys, *args)
        return ("EVALSHA", _sha1(text), *rest), ("EVAL", text, *rest)

    def __call__(self, keys: list[str], args: list[Any]) -> Any:
        """Runs it. One round trip, two the first time. Raises the store's `unavailable` and `refused`."""
        [reply] = self._sent(keys, args, lambda command: self.store().call(command))
        return reply

    def and_wait(self, keys: list[str], args: list[Any], seconds: float) -> tuple[Any, bool]:
        """The same, and whether replicas have what it wrote: see `Cluster.call_and_wait`."""
        return self._sent(keys, args, lambda command: self.store().call_and_wait(command, seconds))

    def _sent(self, keys: list[str], args: list[Any], send: Callable[[tuple[Any, ...]], Answer]) -> Answer:
        store = self.store()
        with store.edge():
            by_hash, by_text = self.commands(store.client(), keys, args)
            try:
                return send(by_hash)
            except NoScriptError:
                return send(by_text)

    def many(self, calls: Sequence[tuple[list[str], list[Any]]]) -> list[Any]:
        """The results of many calls, errors of single ones among them. One round trip, in a cluster one per
        node; two the first time."""
        if not calls:
            return []
        store = self.store()
        with store.edge():
            redis = store.client()
            commands = [self.commands(redis, *call) for call in calls]
            results = _run(redis, [by_hash for by_hash, _ in commands])
            unknown = [index for index, result in enumerate(results) if isinstance(result, NoScriptError)]
            again = _run(redis, [commands[index][1] for index in unknown])
        for index, result in zip(unknown, again, strict=True):
            results[index] = result
        return results


def _run(redis: Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    pipeline = redis.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return pipeline.execute(raise_on_error=False) if commands else []


@cache
def _sha1(text: str) -> str:
    """Redis's name of a script."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@cache
def _knows_shebang(redis: Redis) -> bool:
    version = str(redis.info("server")["redis_version"])
    return int(version.split(".")[0]) >= 7
