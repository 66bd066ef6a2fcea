"""The feeds' Redis: killed, emptied, stalled, full, with a key of the wrong type."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devtools.cluster import NODE_TIMEOUT, ClusterServers, client_of
from devtools.servers import RedisServer, Server, wait_until
from mydjangoapp import graph
from mydjangoapp.homefeed import feeds_redis, keys
from mydjangoapp.models import FanOut
from tests import servers
from tests.checker import ALL_ONCE, Outcome, counters, has_ended, outcome
from tests.clusters import primaries, wait_patiently
from tests.faults.trial import SLOW, Trial

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]
Workers = Callable[..., Server]

LOST_AT_MOST = 2.0  # seconds of writes that `appendfsync everysec` may lose with the machine
SEEDS = 5 if {"rabbitmq", "cluster"} & set(servers.ON) else 20  # the broker has no part in it
NUMBERS = [pytest.param(n, marks=pytest.mark.slow) for n in range(SEEDS)]
if "cluster" in servers.ON:
    NUMBERS[0] = pytest.param(0)
ONE_SERVER = pytest.mark.skipif(
    isinstance(servers.REDIS, ClusterServers),
    reason="of a single server: a replica may have what is taken from its primary",
)
SETTLES = {"MYDJANGOAPP_SETTLE_SECONDS": "3"}  # the product's own default, which has to cover that


def append_only_file(server: RedisServer) -> Path:
    """The file that is being appended to: Redis 7 keeps several in a directory, 6.2 has one."""
    several = sorted(server.directory.glob("appendonlydir/*.incr.aof"), key=lambda file: file.stat().st_mtime)
    return several[-1] if several else server.directory / "appendonly.aof"


def all_on_disk(server: RedisServer) -> None:
    """Writes a new append-only file: what is there now is not part of the loss."""
    redis: Any = client_of(server)
    wait_until(
        lambda: not redis.info("persistence")["aof_rewrite_in_progress"], seconds=30, what="no rewrite runs"
    )
    redis.bgrewriteaof()
    wait_until(
        lambda: not redis.info("persistence")["aof_rewrite_in_progress"], seconds=30, what="it is written"
    )


def crash(server: RedisServer, sizes: deque[tuple[float, int]], chance: random.Random) -> int:
    """SIGKILL, and the end of the append-only file lost, as by a power cut; returns the bytes lost."""
    server.kill()
    file = append_only_file(server)
    size = file.stat().st_size
    since = time.monotonic() - LOST_AT_MOST
    safe = max((length for at, length in sizes if at <= since), default=0)
    keep = chance.randint(min(safe, size), size)
    with file.open("r+b") as opened:
        opened.truncate(keep)
    return size - keep


@pytest.mark.row(7, "kill -9 of the feeds' Redis (AOF everysec), up to two seconds of writes lost with it")
@pytest.mark.parametrize("number", NUMBERS)
def test_redis_is_killed_and_loses_its_last_writes(
    trial: Trial,
    workers: Workers,
    redis_server: RedisServer | ClusterServers,
    seed: int,
    number: int,
    meanwhile: Any,
) -> None:
    chance = random.Random(seed + number)  # noqa: S311  # to be repeated, not to be secret
    trial.follow()
    server = redis_server if isinstance(redis_server, RedisServer) else chance.choice(primaries(redis_server))
    if isinstance(redis_server, ClusterServers):
        wait_patiently(redis_server.servers)  # or a replica might save what is to be lost
    all_on_disk(server)
    file = append_only_file(server)
    sizes = deque([(time.monotonic() - 9, file.stat().st_size)])
    workers(**SLOW, **SETTLES)
    with meanwhile(lambda: sizes.append((time.monotonic(), file.stat().st_size)), pause=0.02):
        trial.upload()
        time.sleep(chance.uniform(0.1, 4.0))  # the fault's own moment: in mid-chain, or before it settles
    lost = crash(server, sizes, chance)
    server.start()
    all_on_disk(server)  # as docs/OPERATING.md says, after a file that was cut
    print(f"lost {lost:,} bytes")
    if isinstance(redis_server, ClusterServers):
        wait_patiently(redis_server.servers, NODE_TIMEOUT)
    trial.healed()
    trial.judge()


@ONE_SERVER
@pytest.mark.row(7, "a chain has ended, and a crash takes the end back before it has settled")
def test_redis_loses_the_end_of_a_chain(trial: Trial, workers: Workers, redis_server: RedisServer) -> None:
    trial.follow(5_000)
    all_on_disk(redis_server)
    size = append_only_file(redis_server).stat().st_size
    worker = workers(**SETTLES)
    trial.upload()
    wait_until(lambda: has_ended(trial.photo), seconds=30, what="the chain has ended")
    assert outcome(trial.photo, trial.present) == ALL_ONCE
    redis_server.kill()
    with append_only_file(redis_server).open("r+b") as file:
        file.truncate(size)
    redis_server.start()
    all_on_disk(redis_server)
    assert outcome(trial.photo, trial.present).lost == 5_000
    trial.healed()
    trial.judge()
    said = worker.log.read_text()
    assert "stood still" in said, "the rescue has begun it again"


@pytest.mark.row(7, "the feeds' Redis comes back empty in mid-chain")
def test_redis_comes_back_empty(
    trial: Trial, workers: Workers, redis: Any, make_users: Callable[[int], list[Any]]
) -> None:
    users = [user.pk for user in make_users(20_000)]
    graph.follow_many(users, trial.author)
    trial.present = users
    workers(**SLOW)
    trial.upload()
    trial.wait_until_on_its_way()
    redis.flushall()
    trial.healed()
    trial.judge()


@pytest.mark.row(9, "out of memory in mid-chain, raised some seconds later")
def test_redis_runs_out_of_memory(trial: Trial, redis: Any) -> None:
    trial.get_under_way()
    redis.config_set("maxmemory", redis.info("memory")["used_memory"] // 2)
    try:
        refused = FanOut.objects.filter(last_error__contains="out of memory")
        wait_until(refused.exists, seconds=30, what="the ledger says why it does not go on")
    finally:
        redis.config_set("maxmemory", 0)
    trial.healed()
    trial.judge()


@pytest.mark.row(12, "a home feed of the wrong type", "everyone else once, it is counted and named")
def test_a_key_of_the_wrong_type(trial: Trial, workers: Workers, redis: Any) -> None:
    users = list(trial.follow(5_000))
    bad = users.pop(2_500)
    trial.present = users
    redis.set(keys.homefeed(bad), "not a list")
    worker = workers()
    trial.upload()
    trial.judge()
    seen = counters(trial.photo)
    assert seen is not None
    assert (seen.reached, seen.refused) == (4_999, 1)
    assert f"homefeed:{bad}" in worker.log.read_text()


@ONE_SERVER
def test_the_crash_of_these_tests_loses_something(
    redis_server: RedisServer, redis: Any, author: Any, db: None
) -> None:
    """Or the row above could not fail: a list that was just written is shorter after it."""
    all_on_disk(redis_server)
    size = append_only_file(redis_server).stat().st_size
    for number in range(1_000):
        redis.rpush("written", number)
    sizes = deque([(time.monotonic() - 9, size)])
    assert crash(redis_server, sizes, random.Random(1)) > 0  # noqa: S311  # to be repeated
    redis_server.start()
    assert feeds_redis.client().llen("written") < 1_000
    all_on_disk(redis_server)
    assert outcome(1, []) == ALL_ONCE == Outcome()
