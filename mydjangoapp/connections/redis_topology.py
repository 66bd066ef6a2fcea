"""Which node of a cluster has which slot. redis-py's cluster client asks; it sends nothing else."""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress
from functools import lru_cache
from random import sample
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster, get_node_name
from redis.exceptions import ConnectionError, RedisClusterException, RedisError
from redis.retry import Retry

from .hash_tags import SLOTS
from .redis_client import CONNECT_SECONDS
from .redis_lives import Lives

logger = logging.getLogger(__name__)

SCHEMES = ("redis+cluster", "rediss+cluster")
ASK_SECONDS = 0.25  # for what one node says; a black hole is not to cost more
REST_SECONDS = 1.0  # after no node has answered
REFRESH_SECONDS = 0.1  # between two looks at the topology, however many callers are redirected
# The last: of redis-py, where the node that it asks knows no other (it was reset).
_PROBLEMS = (RedisClusterException, RedisError, IndexError)


def is_cluster(url: str) -> bool:
    """Whether the URL names a cluster."""
    return url.startswith(SCHEMES)


class Node(NamedTuple):
    """Where a node listens."""

    host: str
    port: int


class Topology:
    """Which node has which slot; asked at the first use, and again when a node says that it is another."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._lock = Lock()
        self._asked: RedisCluster | None = None
        self._ask_from = 0.0
        self._owners: tuple[list[Node], list[int]] | None = None
        self.lives: tuple[Lives, float] = Lives(), -math.inf

    def owner(self, slot: int) -> Node:
        """The primary of a slot. Raises `ConnectionError` if no node can be asked, or nobody has it."""
        nodes, numbers = self.owners()
        if numbers[slot] < 0:
            raise ConnectionError(f"no node serves slot {slot}")
        return nodes[numbers[slot]]

    def owners(self) -> tuple[list[Node], list[int]]:
        """Nodes, and for each slot the number of its primary among them; -1 where nobody serves it. Raises
        `ConnectionError` if no node can be asked."""
        owners = self._owners
        if owners is None:
            nodes: dict[Node, int] = {}
            known = self._cluster().nodes_manager.slots_cache
            primaries = [known[slot][0] if known.get(slot) else None for slot in range(SLOTS)]
            numbers = [
                -1 if one is None else nodes.setdefault(Node(one.host, one.port), len(nodes))
                for one in primaries
            ]
            self._owners = owners = list(nodes), numbers
        return owners

    def primaries(self) -> list[Node]:
        """All primaries."""
        return sorted(Node(node.host, node.port) for node in self._cluster().get_primaries())

    def first_slots(self) -> list[tuple[int, Node]]:
        """The primaries that have slots, each with its first."""
        nodes, numbers = self.owners()
        return [(numbers.index(number), node) for number, node in enumerate(nodes)]

    def refresh(self) -> None:
        """Asks again. Keeps what is known if no node answers; then nobody asks for a second."""
        manager = self._cluster().nodes_manager
        with self._lock:
            if time.monotonic() < self._ask_from:
                return
            known = dict(manager.startup_nodes)
            pause = REST_SECONDS
            try:
                node = self._one_that_answers([Node(each.host, each.port) for each in known.values()])
                name = get_node_name(*node)
                manager.startup_nodes = {name: known[name]}
                manager.initialize()
                pause = REFRESH_SECONDS
            except _PROBLEMS as error:
                logger.warning("nobody tells where the slots of the cluster are: %s", error)
                manager.startup_nodes = known
            finally:
                self._owners = None
                self._ask_from = time.monotonic() + pause

    def _cluster(self) -> RedisCluster:
        if self._asked is None:
            with self._lock:
                if self._asked is None:
                    self._asked = self._connected()
        return self._asked

    def _one_that_answers(self, nodes: list[Node]) -> Node:
        """One of these that is in touch with the others, if there is one. Raises `ConnectionError` if none
        answers within a second: redis-py would wait so long for each."""
        give_up_at = time.monotonic() + CONNECT_SECONDS
        cut_off = None
        for node in sample(nodes, len(nodes)):
            if time.monotonic() > give_up_at:
                break
            with suppress(RedisError):
                if self._is_well(node):
                    return node
                cut_off = node
        if cut_off is None:
            raise ConnectionError("no node of the cluster answers")
        return cut_off

    def _is_well(self, node: Node) -> bool:
        """Whether a node says that the cluster is."""
        once = Retry(NoBackoff(), 0)
        limits = {"socket_timeout": ASK_SECONDS, "socket_connect_timeout": ASK_SECONDS}
        with Redis.from_url(self.url_of(node), protocol=2, retry=once, **limits) as client:
            told: Any = client.execute_command("CLUSTER INFO")
        return bool(told["cluster_state"] == "ok")

    def _connected(self) -> RedisCluster:
        parts = self._parts
        if time.monotonic() < self._ask_from:
            raise ConnectionError("no node of the cluster answered a moment ago")
        try:
            return RedisCluster(
                startup_nodes=[ClusterNode(*self._one_that_answers(nodes_named(parts)))],
                require_full_coverage=False,
                protocol=2,
                username=unquote(parts.username) if parts.username else None,
                password=unquote(parts.password) if parts.password else None,
                ssl=parts.scheme == "rediss+cluster",
                socket_timeout=CONNECT_SECONDS,
                socket_connect_timeout=CONNECT_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
        except _PROBLEMS as error:
            self._ask_from = time.monotonic() + REST_SECONDS
            raise ConnectionError(str(error)) from error

    def url_of(self, node: Node) -> str:
        """The URL of one node."""
        secret, at, _ = self._parts.netloc.rpartition("@")
        host = f"[{node.host}]" if ":" in node.host else node.host
        return f"{self._parts.scheme.removesuffix('+cluster')}://{secret}{at}{host}:{node.port}/0"


def nodes_named(parts: SplitResult) -> list[Node]:
    """The nodes that a URL names, of which one has to answer. Raises `ValueError`."""
    named = parts.netloc.rpartition("@")[2].split(",")
    each = [urlsplit(f"//{one}") for one in named]
    return [Node(one.hostname or "127.0.0.1", one.port or 6379) for one in each]


@lru_cache(maxsize=8)
def topology_of(url: str) -> Topology:
    """The topology of the cluster at this URL."""
    return Topology(url)
