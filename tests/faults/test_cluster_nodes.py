"""Nodes of the feeds' cluster that stop, die and hand their slots over, in mid-chain."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from devtools.cluster import ClusterServers, client_of
from devtools.servers import RedisServer, Server, wait_until
from mydjangoapp.connections.hash_tags import slot_of
from mydjangoapp.homefeed import keys
from tests import servers
from tests.checker import ALL_ONCE, outcome
from tests.clusters import (
    begin_to_move,
    cut_off,
    move_whole_slot,
    owner,
    primaries,
    replica_of,
    wait_until_demoted,
    wait_until_replaced,
)
from tests.faults.trial import Trial

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        not isinstance(servers.REDIS, ClusterServers), reason="needs a cluster: TEST_ON=cluster"
    ),
]
Workers = Callable[..., Server]
WHICH = [
    pytest.param("the author's"),
    pytest.param("another"),
]


def node(which: str, trial: Trial) -> RedisServer:
    """The author's node, or another: that of what tells how far the broker's queue is, if it is another."""
    ours: RedisServer = owner(servers.REDIS, keys.followers(trial.author.pk))
    if which == "the author's":
        return ours
    others = [server for server in primaries(servers.REDIS) if server is not ours]
    queue = owner(servers.REDIS, keys.queue())
    return queue if queue in others else others[0]


def under_way(trial: Trial, workers: Workers) -> None:
    """A chain of some seconds, in its middle."""
    trial.follow()
    workers(MYDJANGOAPP_BATCH_SIZE="500")
    trial.upload()
    trial.wait_until_on_its_way()


def with_its_replica(trial: Trial, workers: Workers, which: str) -> tuple[RedisServer, RedisServer]:
    """The node and its replica, which has all of it, while a chain is in its middle."""
    servers.REDIS.wait_until_replicated()
    primary = node(which, trial)
    replica = replica_of(servers.REDIS, primary)
    under_way(trial, workers)
    return primary, replica


@pytest.mark.row(17, "a node of the cluster stands still for 6 s", "everyone once, when it is back")
@pytest.mark.parametrize("which", WHICH)
def test_a_node_stands_still(trial: Trial, workers: Workers, which: str) -> None:
    under_way(trial, workers)
    stopped = node(which, trial)
    stopped.signal(signal.SIGSTOP)
    try:
        time.sleep(6)  # the fault itself, not a wait for something: twice the fence
    finally:
        stopped.signal(signal.SIGCONT)
    servers.REDIS.wait_until_well()
    trial.healed()
    trial.judge(seconds=60)


@pytest.mark.row(17, "a node sleeps on pushes of a worker that dies", "everyone once, by another worker")
@pytest.mark.parametrize("seconds", [0.5, 6], ids=["wakes soon", "wakes behind the fence"])
def test_a_node_sleeps_on_pushes_of_a_dead_worker(trial: Trial, workers: Workers, seconds: float) -> None:
    """Another takes the batch over, and looks; when the node wakes, the dead one's pushes are the first that
    it reads."""
    trial.follow()
    worker = workers(MYDJANGOAPP_BATCH_SIZE="500")
    stopped = node("another", trial)
    trial.upload()
    trial.wait_until_on_its_way()
    stopped.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: unread(stopped.port) > PUSHES, seconds=10, what="pushes are in its buffer")
        for child in psutil.Process(worker.pid).children():
            os.kill(child.pid, signal.SIGKILL)
        time.sleep(seconds)  # the fault itself
    finally:
        stopped.signal(signal.SIGCONT)
    servers.REDIS.wait_until_well()
    trial.healed()
    trial.judge(seconds=60)


PUSHES = 1_000  # bytes, of a call with some hundred users; what a replica sends is shorter


def unread(port: int) -> int:
    """The most bytes that wait on any one connection to a port of this machine."""
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    waiting = [words[4].split(":")[1] for words in sockets if words[1].endswith(f":{port:04X}")]
    return max((int(each, 16) for each in waiting), default=0)


@pytest.mark.row(17, "SIGKILL of a node of the cluster, and its restart", "everyone once, when it is back")
@pytest.mark.parametrize("which", WHICH)
def test_a_node_is_killed_and_started_again(trial: Trial, workers: Workers, which: str) -> None:
    under_way(trial, workers)
    killed = node(which, trial)
    killed.kill()
    killed.start()
    servers.REDIS.wait_until_well()
    trial.healed()
    trial.judge(seconds=60)


@pytest.mark.skipif("replicas" not in servers.ON, reason='needs replicas: TEST_ON="cluster replicas"')
@pytest.mark.row(19, "a node of the cluster dies with its last writes", "everyone once, by its replica")
@pytest.mark.parametrize("which", WHICH)
def test_a_replica_takes_a_nodes_place(trial: Trial, workers: Workers, which: str) -> None:
    """One that lags behind: what its primary has acknowledged in the last half a second is gone."""
    primary, replica = with_its_replica(trial, workers, which)
    replica.signal(signal.SIGSTOP)
    try:
        client_of(primary).execute_command("CLIENT KILL", "TYPE", "replica")
        trial.wait_until_on_its_way(share=0.3)
        primary.kill()
    finally:
        replica.signal(signal.SIGCONT)
    try:
        wait_until_replaced(servers.REDIS, primary, replica)
        trial.healed()
        trial.judge(seconds=60)
    finally:
        primary.start()  # as its replica, for the tests that follow
        servers.REDIS.wait_until_replicated()


@pytest.mark.skipif("replicas" not in servers.ON, reason='needs replicas: TEST_ON="cluster replicas"')
@pytest.mark.row(19, "a primary is cut off, accepts and is demoted", "everyone once, by its replica")
@pytest.mark.parametrize("which", WHICH)
def test_a_primary_is_cut_off_and_demoted(trial: Trial, workers: Workers, which: str) -> None:
    primary, replica = with_its_replica(trial, workers, which)
    with cut_off(servers.REDIS, primary):
        trial.upload()  # taken by the one, and perhaps gone with it
        wait_until_replaced(servers.REDIS, primary, replica)
    wait_until_demoted(primary)
    trial.healed()
    trial.judge(seconds=60)
    servers.REDIS.wait_until_replicated()


@pytest.mark.row(18, "slots move to another node, key by key", "everyone once, and no hole")
def test_slots_move(trial: Trial, workers: Workers, redis: Any) -> None:
    under_way(trial, workers)
    last = str(trial.present[-1])
    homes = [keys.homefeed(user) for user in (*trial.present[-20:], trial.author.pk)]
    homes.append(keys.followers(trial.author.pk))
    for slot in {slot_of(key) for key in homes}:
        key = next(key for key in homes if slot_of(key) == slot)
        source = owner(servers.REDIS, key)
        target = next(server for server in primaries(servers.REDIS) if server is not source)
        move_whole_slot(servers.REDIS, key, source, target)
    servers.REDIS.wait_until_well()
    trial.healed()
    trial.judge(seconds=60)
    moved = owner(servers.REDIS, keys.homefeed(last))
    assert client_of(moved).llen(keys.homefeed(last)) == 1


@pytest.mark.row(18, "a move of slots breaks off half way, and stays so", "everyone once, and no hole")
def test_a_move_breaks_off_half_way(trial: Trial, workers: Workers, redis: Any) -> None:
    """Lists are at the new node, their floors at the old one. Somebody ends the move later."""
    under_way(trial, workers)
    homes = [keys.homefeed(user) for user in trial.present[-20:]]
    routes = {}
    for key in homes:
        source = owner(servers.REDIS, key)
        target = next(server for server in primaries(servers.REDIS) if server is not source)
        routes[key] = source, target
        redis.set(keys.floor(key.rpartition(":")[2]), 1)
        begin_to_move(key, source, target)
        client_of(source).migrate("127.0.0.1", target.port, key, 0, 5_000)
    try:
        trial.healed()
        trial.judge(seconds=60)
    finally:
        for key, (source, target) in routes.items():
            move_whole_slot(servers.REDIS, key, source, target)
        servers.REDIS.wait_until_well()
    assert [client_of(routes[key][1]).llen(key) for key in homes] == [1] * len(homes)
    assert trial.look() == ALL_ONCE
    floors = set(redis.mget([keys.floor(user) for user in trial.present[-20:]]))
    assert floors <= {b"1", None}, "a feed that could not be written whole is read from SQL"


@pytest.mark.row(17, "a node of the cluster is away for 60 s", "everyone once, when it is back")
def test_a_node_is_away_for_a_minute(trial: Trial, workers: Workers) -> None:
    """Longer than leases, fences and retries. The others get the photo, and one that is uploaded meanwhile,
    over many more batches than may be under way at once."""
    under_way(trial, workers)
    away = node("another", trial)
    replicas = [replica_of(servers.REDIS, away)] if "replicas" in servers.ON else []
    some = trial.present[:: max(1, len(trial.present) // 400)]
    others = [user for user in some if owner(servers.REDIS, keys.homefeed(user)) is not away]
    for replica in replicas:  # or it would take the node's place
        replica.signal(signal.SIGSTOP)
    away.kill()
    try:
        began = time.monotonic()
        for photo in (trial.photo, trial.upload()):
            wait_until(lambda: outcome(photo, others) == ALL_ONCE, seconds=50, what="the others have it")  # noqa: B023  # done at once
        time.sleep(max(0, 60 - (time.monotonic() - began)))  # the fault itself
    finally:
        away.start()
        for replica in replicas:
            replica.signal(signal.SIGCONT)
    servers.REDIS.wait_until_well()
    trial.healed()
    trial.judge(seconds=90)
