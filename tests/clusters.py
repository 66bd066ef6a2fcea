"""Moving slots of a cluster, as a resharding does."""

from __future__ import annotations

from typing import Any

from devtools.cluster import ClusterServers, client_of
from devtools.servers import RedisServer, wait_until
from mydjangoapp.connections.hash_tags import slot_of


def owner(servers: ClusterServers, key: str) -> RedisServer:
    """The primary of a key."""
    port = port_of(slot_of(key), servers.primaries[0])
    return next(server for server in servers.primaries if server.port == port)


def move_slot(servers: ClusterServers, key: str, source: RedisServer, target: RedisServer) -> None:
    """Moves the slot of a key, with that key, as a resharding ends."""
    begin_to_move(key, source, target)
    client_of(source).migrate("127.0.0.1", target.port, key, 0, 5_000)
    _end_to_move(servers, key, source, target)


def move_whole_slot(servers: ClusterServers, key: str, source: RedisServer, target: RedisServer) -> None:
    """Moves the slot of a key with all that is in it, one key after the other."""
    begin_to_move(key, source, target)
    while names := client_of(source).execute_command("CLUSTER GETKEYSINSLOT", slot_of(key), 1):
        client_of(source).migrate("127.0.0.1", target.port, names[0], 0, 5_000)
    _end_to_move(servers, key, source, target)


def _end_to_move(servers: ClusterServers, key: str, source: RedisServer, target: RedisServer) -> None:
    for server in (target, source):
        client_of(server).execute_command("CLUSTER SETSLOT", slot_of(key), "NODE", name_of(target))
    wait_until(
        lambda: all(port_of(slot_of(key), server) == target.port for server in servers.primaries),
        seconds=20,
        what="all nodes know where the slot is",
    )


def port_of(slot: int, server: RedisServer) -> int:
    """Where this node thinks that a slot is."""
    ranges: Any = client_of(server).execute_command("CLUSTER SLOTS")
    return next(int(primary[1]) for first, last, primary, *_ in ranges if first <= slot <= last)


def begin_to_move(key: str, source: RedisServer, target: RedisServer) -> None:
    slot = slot_of(key)
    client_of(target).execute_command("CLUSTER SETSLOT", slot, "IMPORTING", name_of(source))
    client_of(source).execute_command("CLUSTER SETSLOT", slot, "MIGRATING", name_of(target))


def name_of(server: RedisServer) -> str:
    return str(client_of(server).execute_command("CLUSTER MYID").decode())
