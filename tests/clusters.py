"""Clusters: who is primary, slots that move, nodes that are cut off, stopped or restarted."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError
from redis.retry import Retry

from devtools.cluster import ClusterServers, bus_port, client_of
from devtools.servers import RedisServer, Server, in_use, wait_until
from mydjangoapp.connections.hash_tags import slot_of
from mydjangoapp.connections.redis_client import breaker_of
from mydjangoapp.homefeed import feeds_redis


def owner(servers: ClusterServers, key: str) -> RedisServer:
    """The primary of a key, as the first node that runs has it."""
    port = port_of(slot_of(key), next(server for server in servers.servers if server.running))
    return next(server for server in servers.servers if server.port == port)


def primaries(servers: ClusterServers) -> list[RedisServer]:
    """Those that are primaries now."""
    running = [server for server in servers.servers if server.running]
    return [server for server in running if client_of(server).info("replication")["role"] == "master"]


def replica_of(servers: ClusterServers, primary: RedisServer) -> RedisServer:
    """Its replica."""
    port = client_of(primary).info("replication")["slave0"]["port"]
    return next(server for server in servers.servers if server.port == port)


def wait_until_replaced(servers: ClusterServers, primary: RedisServer, by: RedisServer) -> None:
    """Waits until the others know that this replica has taken its primary's place."""
    others = [server for server in servers.servers if server.running and server is not primary]
    wait_until(
        lambda: all(is_primary(by, told_by=other) for other in others),
        seconds=30,
        what="a replica has taken its primary's place",
    )


def fail_over(servers: ClusterServers, primary: RedisServer, replica: RedisServer) -> None:
    """Lets a replica take its primary's place as an operator does, who sees to it that nothing is lost."""
    asked_at = -math.inf

    def has_taken_it() -> bool:
        nonlocal asked_at
        if time.monotonic() - asked_at > 6:  # Redis gives up by itself after five seconds
            asked_at = time.monotonic()
            client_of(replica).execute_command("CLUSTER FAILOVER")
        return is_primary(replica, told_by=replica)

    wait_until(has_taken_it, seconds=30, what="the replica has taken its primary's place")
    wait_until_replaced(servers, primary, replica)
    servers.wait_until_replicated()


@contextmanager
def cut_off(servers: ClusterServers, primary: RedisServer) -> Iterator[None]:
    """The others, its replica among them, and this primary know nothing of each other; clients reach all."""
    replica = replica_of(servers, primary)
    assert servers.bus is not None
    bars = {"masteruser": "nobody", "masterauth": "wrong"}
    for name, value in bars.items():
        client_of(replica).config_set(name, value)
    client_of(primary).execute_command("CLIENT KILL", "TYPE", "replica")
    servers.bus.cut_off(name_of(primary).encode(), bus_port(primary))
    try:
        yield
    finally:
        servers.bus.join()
        for name in bars:
            client_of(replica).config_set(name, "")


def wait_patiently(servers: Iterable[RedisServer], milliseconds: int = 60_000) -> None:
    """However slow this machine is, no node passes for failed by these for so long."""
    for server in servers:
        client_of(server).config_set("cluster-node-timeout", milliseconds)


def wait_until_demoted(primary: RedisServer) -> None:
    """Waits until it knows that another has taken its place."""
    wait_until(
        lambda: client_of(primary).info("replication")["role"] == "slave", seconds=30, what="it is demoted"
    )


def is_primary(server: RedisServer, told_by: RedisServer) -> bool:
    slots: Any = client_of(told_by).execute_command("CLUSTER SLOTS")
    return any(int(primary[1]) == server.port for _, _, primary, *_ in slots)


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
        lambda: all(port_of(slot_of(key), server) == target.port for server in primaries(servers)),
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


def go_on(servers: ClusterServers, stopped: RedisServer) -> None:
    """Lets a node that was stopped answer again, and this process ask it."""
    stopped.signal(signal.SIGCONT)
    servers.wait_until_well()
    breaker_of.cache_clear()


@contextmanager
def loading(server: RedisServer, key: str) -> Iterator[None]:
    """The node of this key is restarted and reads its data back, slowly, as it would with gigabytes of it; to
    its end after the block."""
    client = client_of(server)
    pipeline = client.pipeline(transaction=False)
    for number in range(5_000):
        pipeline.set(f"{{{key}}}:{number}", number)
    pipeline.execute()
    client.bgrewriteaof()
    wait_until(
        lambda: not client.info("persistence")["aof_rewrite_in_progress"], seconds=30, what="it is written"
    )
    server.kill()
    usual = list(server.command)
    server.command += ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"]
    try:
        Server.start(server)
    finally:
        server.command[:] = usual
    server.wait_for(lambda: in_use(server.port), seconds=10, what="it listens")
    assert is_loading(server)
    try:
        yield
    finally:
        client_of(server).config_set("key-load-delay", 0)
        wait_until(lambda: not is_loading(server), seconds=60, what="it has its data")


def is_loading(server: RedisServer) -> bool:
    try:
        # Asked once: redis-py would ask again until it is over.
        with Redis(port=server.port, protocol=2, socket_timeout=10, retry=Retry(NoBackoff(), 0)) as client:
            return not client.ping()
    except BusyLoadingError:
        return True


def feeds_at(settings: Any, servers: ClusterServers, **more: Any) -> Any:
    """Points this process at these servers, with little patience; returns the feeds' client."""
    here = {"REDIS_URL": servers.url(), "EVENTS_URL": "off", "REDIS_TIMEOUT": 0.3, "SETTLE_SECONDS": 0.001}
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, **here, **more}
    breaker_of.cache_clear()  # a test before may have stopped a node
    return feeds_redis.client()
