"""A cluster of Redis or Valkey servers behind the commands of redis-py's client.

redis-py's own pipeline for clusters would repeat commands by itself, ten times, after time-outs as well. Here
each node has a client as a single server has it: what is sent to it goes out once for all commands of a call,
and is repeated as often.

A node that is away fails only the calls that need it. Where a slot is, `redis_topology.py` says.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from redis.commands import CoreCommands
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from .hash_tags import slot_of
from .redis_client import breaker_of, client_of, send
from .redis_commands import OF_ALL_NODES, OF_EACH_KEY, Command, key_of, keys_of
from .redis_lives import Kept, Lives, keeps, life_of, remember, remembered, replicas, scan
from .redis_pipeline import Pipeline
from .redis_topology import Node, Topology, topology_of

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)

LIVES_SECONDS = 1.0
REPLICAS_SECONDS = 1.0  # no replica takes a place so soon after it has got its data
AGAIN_SECONDS = 0.02  # before a command is sent again while its slot moves or its node is voted for
_REDIRECTIONS = (AskError, TryAgainError, ClusterDownError, ReadOnlyError)  # MOVED is an AskError there

Answer = TypeVar("Answer")


@lru_cache(maxsize=32)
def cluster_of(url: str, timeout: float, retries: int, *, in_haste: bool = False) -> Cluster:
    """The client of the cluster at this URL; its nodes' are made as `redis_client.client_of` says."""
    return Cluster(url, timeout, retries, in_haste=in_haste)


class Cluster(CoreCommands):
    """The commands that the app uses. Those of several keys (`DEL`, `UNLINK`, `EXISTS`, `MGET`) take keys of
    any slots and are one command per key. Raises redis-py's errors; `ConnectionError` also where a slot has
    no node, or no peace, for as long as a command may take."""

    def __init__(self, url: str, timeout: float, retries: int, *, in_haste: bool = False) -> None:
        self.url = url
        self.timeout = timeout
        self.retries = retries
        self.in_haste = in_haste
        self._event_dispatcher: Any = None  # redis-py's commands want it
        self._replicas: WeakKeyDictionary[Redis, tuple[int, float]] = WeakKeyDictionary()

    @property
    def topology(self) -> Topology:
        """Where its slots are."""
        return topology_of(self.url)

    def nodes(self) -> list[Redis]:
        """The clients of all primaries."""
        return [self.client_of(node) for node in self.topology.primaries()]

    def lives(self, *, now: bool = False) -> Lives:
        """The lives of all primaries. As they were within the last second, or are `now`."""
        known, asked_at = self.topology.lives
        if now or time.monotonic() - asked_at > LIVES_SECONDS:
            each = self.each_life()
            asked_at = time.monotonic()
            lives = [f"{node.host}:{node.port}={life}" for node, life in each.items()]
            name = hashlib.sha1(" ".join(lives).encode(), usedforsecurity=False).hexdigest()[:16]
            slots = [slot for slot, node in self.topology.first_slots() if each.get(node)]
            known = Lives(name, min(slots, default=0))
            self.topology.lives = known, asked_at
        return known

    def each_life(self) -> dict[Node, str]:
        """The life of each primary, at some moment of this call; empty where one does not answer. One round
        trip per node."""
        self.topology.refresh()
        return {node: self._life(node) for node in self.topology.primaries()}

    def _life(self, node: Node) -> str:
        try:
            return self.at(node, life_of)
        except (ConnectionError, TimeoutError, ResponseError):
            return ""

    def kept(self, key_in: Callable[[int], str]) -> Kept:
        """What the primaries have for good of all that they acknowledged before this call. Writes a counter
        to each, whose key `key_in` makes for a slot. Two round trips per node, of half its time-out at
        most."""
        self.topology.refresh()
        alive, safe, is_complete = set(), set(), True
        for slot, node in self.topology.first_slots():
            ask = partial(keeps, key=key_in(slot), seconds=self.timeout / 2)
            try:
                life, is_safe = self.at(node, ask)
            except (ConnectionError, TimeoutError, ResponseError) as error:
                logger.warning("node %s:%s does not tell what it has for good: %s", *node, error)
                life, is_safe = "", False
            if not life:
                is_complete = False
                continue
            alive.add(life)
            if is_safe:
                safe.add(life)
        return Kept(frozenset(safe), frozenset(alive), is_complete)

    def keeps(self, key: str) -> bool:
        """Whether the primary of this key has for good all that it acknowledged before this call. Writes a
        counter there. Two round trips, of half its time-out at most."""

        def ask(client: Redis, asking: bool) -> tuple[str, bool]:
            if asking:
                raise TryAgainError("the slot of this key moves")
            return keeps(client, key, self.timeout / 2)

        life, is_safe = self._where(key, ask)
        return bool(life) and is_safe

    def remembered(self, key_in: Callable[[int], str]) -> dict[int, tuple[str, list[str]]]:
        """Of each primary that answers, by its first slot, the life and the texts of its history, the newest
        last. One round trip per node."""
        found = {}
        for slot, node in self.topology.first_slots():
            with suppress(ConnectionError, TimeoutError, ResponseError):
                found[slot] = self.at(node, partial(remembered, key=key_in(slot)))
        return found

    def remember(self, slot: int, key: str, text: str) -> None:
        """Adds a text to the history of the primary of a slot. One round trip."""
        self.at(self.topology.owner(slot), partial(remember, key=key, text=text))

    def scan_where(self, slot: int, position: str, count: int) -> tuple[str, str, list[bytes]]:
        """A step of SCAN at the primary of a slot: its life, the next position, and keys. One round trip."""
        return self.at(self.topology.owner(slot), partial(scan, position=position, count=count))

    def client_of(self, node: Node) -> Redis:
        """The client of one node."""
        return client_of(self.topology.url_of(node), self.timeout, self.retries, in_haste=self.in_haste)

    def pipeline(self, transaction: bool = True) -> Pipeline:
        """As redis-py has it; a transaction has keys of one slot. One round trip per node."""
        return Pipeline(self.run, self._where, transaction)

    def execute_command(self, *command: Any, **options: Any) -> Any:
        """Runs one command where its key is. One round trip."""
        name = command[0]
        if name in OF_ALL_NODES:
            self.topology.refresh()
            replies = [client.execute_command(*command, **options) for client in self.nodes()]
            if name in ("DBSIZE", "KEYS"):
                return sum(replies, replies[0] * 0)
            return replies[0]
        if name in OF_EACH_KEY and len(command) > 2:
            replies = self.run([((name, key), options) for key in command[1:]])
            return [one for [one] in replies] if name == "MGET" else sum(replies)
        return self._where(key_of(command), lambda client, asking: _one(client, command, options, asking))

    def scan_iter(self, *arguments: Any, **options: Any) -> Iterator[bytes]:
        """All keys of all nodes."""
        for client in self.nodes():
            yield from client.scan_iter(*arguments, **options)

    def call(self, *commands: Command) -> list[Any]:
        """Sends commands of one slot together, as they are; returns their replies. One round trip."""
        key = next((key for command in commands if len(command) > 1 and (key := key_of(command))), None)

        def do(client: Redis, asking: bool) -> list[Any]:
            return send(client, ("ASKING",), *commands)[1:] if asking else send(client, *commands)

        return self._where(key, do)

    def call_and_wait(self, command: Command, seconds: float) -> tuple[Any, bool]:
        """Sends one command, which may be repeated; returns its reply, and whether all replicas of its node,
        if it has any, have what it wrote. Waits so long for that. One round trip, and one a second that asks
        for their number."""
        milliseconds = max(1, int(min(seconds, self.timeout / 2) * 1_000))

        def do(client: Redis, asking: bool) -> tuple[Any, bool]:
            if asking:
                return send(client, ("ASKING",), command)[1], False
            number = self._replicas_of(client)
            if not number:
                return send(client, command)[0], True
            try:
                reply, there = send(client, command, ("WAIT", number, milliseconds))
            except ResponseError as error:
                if "UNBLOCKED" in str(error):
                    raise TryAgainError("the node was demoted while it waited for its replicas") from error
                raise
            return reply, there >= number

        return self._where(key_of(command), do)

    def _replicas_of(self, client: Redis) -> int:
        number, asked_at = self._replicas.get(client, (0, -math.inf))
        if time.monotonic() - asked_at > REPLICAS_SECONDS:
            number, asked_at = replicas(client), time.monotonic()
            self._replicas[client] = number, asked_at
        return number

    def run(self, commands: Sequence[tuple[Command, dict[str, Any]]], *, raises: bool = True) -> list[Any]:
        """The replies of commands of any slots, each with redis-py's options. One round trip per node.

        Commands without a key go where the one after them goes, the last where the one before. With
        `raises=False` an error of a command is its reply, also where its node does not answer.
        """
        keys = keys_of([command for command, _ in commands])
        of_node: defaultdict[Node, list[int]] = defaultdict(list)
        for index, key in enumerate(keys):
            of_node[self._owner(key)].append(index)
        replies: list[Any] = [None] * len(commands)
        for node, indexes in of_node.items():
            some = self._run_at(node, [commands[index] for index in indexes])
            for index, reply in zip(indexes, some, strict=True):
                is_elsewhere = isinstance(reply, ConnectionError) and self._owner(keys[index]) != node
                if is_elsewhere or isinstance(reply, _REDIRECTIONS):
                    reply = self._again(keys[index], *commands[index])
                if raises and isinstance(reply, Exception):
                    raise reply
                replies[index] = reply
        return replies

    def _run_at(self, node: Node, commands: Sequence[tuple[Command, dict[str, Any]]]) -> Sequence[Any]:
        def run(client: Redis) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for command, options in commands:
                pipeline.execute_command(*command, **options)
            return pipeline.execute(raise_on_error=False)

        try:
            return self.at(node, run)
        except (ConnectionError, TimeoutError) as error:
            self.topology.refresh()
            return [error] * len(commands)

    def _again(self, key: Any, command: Command, options: dict[str, Any]) -> Any:
        try:
            return self._where(key, lambda client, asking: _one(client, command, options, asking))
        except RedisError as error:
            return error

    def _where(self, key: Any, do: Callable[[Redis, bool], Answer]) -> Answer:
        """Does something at the node of a key, and goes on to where a node sends it."""
        give_up_at = time.monotonic() + self.timeout
        node, asking = self._owner(key), False
        while True:
            try:
                return self.at(node, lambda client: do(client, asking))  # noqa: B023  # done at once
            except MovedError as error:
                self.topology.refresh()
                problem: Exception = error
                node, asking = Node(error.host, error.port) if error.host else self._owner(key), False
            except AskError as error:
                problem = error
                node, asking = Node(error.host, error.port) if error.host else node, True
                if time.monotonic() <= give_up_at:
                    continue
            except (TryAgainError, ClusterDownError, ReadOnlyError) as error:
                self.topology.refresh()
                time.sleep(AGAIN_SECONDS)  # before it is sent again: a slot moves, or a node is voted for
                problem = error
                node, asking = self._owner(key), False
            except TimeoutError:
                self.topology.refresh()
                raise
            except ConnectionError as error:
                self.topology.refresh()
                if (now := self._owner(key)) == node:
                    raise
                problem, node, asking = error, now, False
            if time.monotonic() > give_up_at:
                raise ConnectionError(str(problem)) from problem

    def at(self, node: Node, do: Callable[[Redis], Answer]) -> Answer:
        """Does something at a node. After a time-out nobody waits for that node for a second."""
        breaker = breaker_of(self.topology.url_of(node))
        if not breaker.allows():
            raise ConnectionError(f"node {node.host}:{node.port} did not answer a moment ago")
        try:
            answer = do(self.client_of(node))
        except TimeoutError:
            breaker.trip()
            raise
        except ConnectionError:
            raise
        except Exception:
            breaker.reset()
            raise
        breaker.reset()
        return answer

    def _owner(self, key: Any) -> Node:
        return self.topology.primaries()[0] if key is None else self.topology.owner(slot_of(key))


def _one(client: Redis, command: Command, options: dict[str, Any], asking: bool) -> Any:
    if not asking:
        return client.execute_command(*command, **options)
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("ASKING")
    pipeline.execute_command(*command, **options)
    return pipeline.execute()[1]
