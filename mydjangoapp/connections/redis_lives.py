"""Lives of a cluster's primaries: what tells whether a node still has all that it acknowledged.

A node that was restarted, or whose replica has taken its place, may have gone back in time: it has lost the
last writes that it had acknowledged. Each such event begins another life. A write is safe against the loss of
one server when the disk has it (a second later, `appendfsync everysec`), and a replica, if there is one. Of
the latter Redis tells by WAIT what this connection has written, and with it all that the node has taken
before (https://redis.io/docs/latest/commands/wait/).
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from redis import Redis

ASK_AGAIN_SECONDS = 10.0  # a node that was demoted and promoted again may have kept its connections
HISTORY = 100
REPLICAS = 1  # of a node's, that must have its writes
_NAMES = re.compile(r"^(?:run_id|master_replid):(\w+)", re.MULTILINE)

_asked: WeakKeyDictionary[Any, tuple[str, float]] = WeakKeyDictionary()
"""The life at the other end of a connection, and when it was asked for."""


@dataclass(frozen=True)
class Kept:
    """What primaries have for good. `safe`: lives in which all that was acknowledged until now survives the
    loss of any one server. `alive`: all lives that are led now. `is_complete`: every primary has told its
    own, so that what is not among them is over."""

    safe: frozenset[str]
    alive: frozenset[str]
    is_complete: bool


@dataclass(frozen=True)
class Lives:
    """The lives of all primaries together. `name`: another after any was restarted, replaced or cut off; also
    while one does not answer. `slot`: one of a primary that answers, the same for all who see these lives."""

    name: str = ""
    slot: int = 0


def connected(connection: Any) -> None:
    """For redis-py's `redis_connect_func`: another connection may lead to another life."""
    # A health check that fails connects again, and would check again.
    connection.on_connect_check_health(check_health=False)
    _asked.pop(connection, None)


def life_at(connection: Any) -> str:
    """The life at the other end, at some moment before now. Asked once per connection, and every some
    seconds: one round trip then."""
    life, asked_at = _asked.get(connection, ("", 0.0))
    if not life or time.monotonic() - asked_at > ASK_AGAIN_SECONDS:
        connection.send_command("INFO", "server", "replication")
        life, asked_at = _named(connection.read_response()), time.monotonic()
        _asked[connection] = life, asked_at
    return life


def life_of(client: Redis) -> str:
    """The life of a primary; empty if it is none, or cut off from the others, who may have replaced it
    without its knowing. One round trip."""
    pipeline = client.pipeline(transaction=False)
    _ask(pipeline)
    return _life(*pipeline.execute())


def replicas(client: Redis) -> int:
    """How many replicas a primary has that may take its place. One round trip."""
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("INFO", "replication")
    pipeline.execute_command("CLUSTER NODES")
    told, nodes = pipeline.execute()
    # Those that are in touch with it may, and others until the cluster says that they have failed.
    return max(int(told["connected_slaves"]), _replicas(nodes))


def keeps(client: Redis, key: str, seconds: float) -> tuple[str, bool]:
    """The life of a primary, and whether a replica, if it has any, has all that it acknowledged before;
    writes a counter at `key`, which is to be a key of this node. Two round trips, of so many seconds at
    most."""
    is_replicated = replicas(client) > 0
    pipeline = client.pipeline(transaction=False)
    _ask(pipeline)
    pipeline.execute_command("INCR", key)
    if is_replicated:
        pipeline.execute_command("WAIT", REPLICAS, max(1, int(seconds * 1_000)))
    told, cluster, _, *waited = pipeline.execute()
    return _life(told, cluster), not is_replicated or waited[0] >= REPLICAS


def remembered(client: Redis, key: str) -> tuple[str, list[str]]:
    """The life of a primary, and the texts that `remember` has left there. One round trip."""
    pipeline = client.pipeline(transaction=False)
    _ask(pipeline)
    pipeline.lrange(key, 0, -1)
    told, cluster, texts = pipeline.execute()
    return _life(told, cluster), [text.decode() for text in texts]


def remember(client: Redis, key: str, text: str) -> None:
    """Adds a text to the history at `key`, of which a node keeps the last hundred. One round trip."""
    pipeline = client.pipeline(transaction=False)
    pipeline.rpush(key, text)
    pipeline.ltrim(key, -HISTORY, -1)
    pipeline.execute()


def scan(client: Redis, position: str, count: int) -> tuple[str, str, list[bytes]]:
    """The life of a primary, and a step of SCAN there: the next position, and keys. One round trip."""
    pipeline = client.pipeline(transaction=False)
    _ask(pipeline)
    pipeline.execute_command("SCAN", position, "COUNT", count)
    told, cluster, (following, keys) = pipeline.execute()
    return _life(told, cluster), str(following), keys


def _replicas(nodes: dict[str, dict[str, str]]) -> int:
    """How many replicas this node has that have not failed, by its answer to CLUSTER NODES."""
    flags = {node["node_id"]: node["flags"].split(",") for node in nodes.values()}
    [ours] = (node for node, of_it in flags.items() if "myself" in of_it)
    replicas = [node["node_id"] for node in nodes.values() if node["master_id"] == ours]
    return sum("fail" not in flags[replica] for replica in replicas)


def _ask(pipeline: Any) -> None:
    """For `_life`."""
    pipeline.execute_command("INFO", "server", "replication")
    pipeline.execute_command("CLUSTER INFO")


def _life(told: dict[str, str], cluster: dict[str, str]) -> str:
    is_well = told["role"] == "master" and cluster["cluster_state"] == "ok"
    return _short(f"{told['run_id']} {told['master_replid']}") if is_well else ""


def _named(told: bytes) -> str:
    """The life that an answer to INFO tells of."""
    return _short(" ".join(_NAMES.findall(told.decode())))


def _short(names: str) -> str:
    return hashlib.sha1(names.encode(), usedforsecurity=False).hexdigest()[:12]
