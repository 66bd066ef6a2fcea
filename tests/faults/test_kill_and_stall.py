"""Real processes, killed and stopped. Each test runs on the engine, which has to come out exact, and on
the naive chain, in which the checker has to find what was lost or doubled: else it could not fail."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from devtools.servers import RedisServer, Server, wait_until
from mydjangoapp import graph
from mydjangoapp.homefeed import feeds_redis, keys
from tests.checker import ALL_ONCE, Outcome, fill, outcome, runs
from tests.faults.conftest import Chain
from tests.faults.trial import Trial

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

SIZE = {True: 500_000, False: 40_000}  # a second or more of work for the engine, and for the naive chain


def judge(chain: Chain, trial: Trial, found: Outcome, since: float) -> None:
    """Exact for the engine; the naive chain has to show a loss or a double."""
    way = "engine" if chain.is_exact else "naive"
    trial.note(found, "ended", time.monotonic() - since, way, chain.task)
    if chain.is_exact:
        assert found == ALL_ONCE
    else:
        assert found.lost or found.doubled, "the checker sees nothing: this test could not fail"


@pytest.mark.slow
@pytest.mark.row(1, "SIGKILL of the whole worker in mid-chain, then a new one")
def test_sigkill_of_the_whole_worker_in_mid_chain_and_a_new_one(
    chain: Chain, trial: Trial, workers: Callable[..., Server], author: Any
) -> None:
    everyone = fill(author.pk, SIZE[chain.is_exact])
    first = workers(CELERY_VISIBILITY_TIMEOUT="4")
    photo = chain.begin(author)
    chain.wait_until_on_its_way(photo, len(everyone))
    first.kill()
    since = time.monotonic()
    assert outcome(photo, everyone[-1:]).lost, "killed too late to mean anything"
    workers(CELERY_VISIBILITY_TIMEOUT="4")
    chain.wait_for_end(photo, seconds=40)
    judge(chain, trial, outcome(photo, everyone), since)


@pytest.mark.slow
@pytest.mark.row(1, "SIGKILL of the pool child in mid-chain")
def test_sigkill_of_the_pool_child_that_carries_the_chain(
    chain: Chain, trial: Trial, workers: Callable[..., Server], author: Any
) -> None:
    everyone = fill(author.pk, SIZE[chain.is_exact])
    worker = workers()
    photo = chain.begin(author)
    chain.wait_until_on_its_way(photo, len(everyone))
    for child in psutil.Process(worker.pid).children():
        os.kill(child.pid, signal.SIGKILL)
    since = time.monotonic()
    assert outcome(photo, everyone[-1:]).lost, "killed too late to mean anything"
    chain.wait_for_end(photo, seconds=60)
    judge(chain, trial, outcome(photo, everyone), since)


@pytest.mark.row(3, "the same message five times at once")
def test_the_same_message_five_times_at_once(
    chain: Chain, trial: Trial, workers: Callable[..., Server], author: Any, is_quiet: Callable[[], bool]
) -> None:
    everyone = fill(author.pk, 30_000)
    worker = workers()
    photo = chain.begin(author)
    for _ in range(4):
        chain.send(photo, author)
    since = time.monotonic()
    chain.wait_for_end(photo, seconds=60)
    wait_until(is_quiet, seconds=60, what="every message is done with")
    judge(chain, trial, outcome(photo, everyone), since)
    if chain.is_exact:
        batches, copies = 3, 4
        assert runs(chain.task, worker) <= batches + copies, "the chain has multiplied"


@pytest.mark.slow
@pytest.mark.row(8, "the feeds' Redis stands still for 8 s")
def test_redis_stands_still_for_eight_seconds_in_mid_chain(
    chain: Chain, trial: Trial, workers: Callable[..., Server], author: Any, redis_server: RedisServer
) -> None:
    everyone = fill(author.pk, SIZE[chain.is_exact])
    workers()
    photo = chain.begin(author)
    chain.wait_until_on_its_way(photo, len(everyone))
    redis_server.signal(signal.SIGSTOP)
    try:
        time.sleep(8)  # the fault itself, not a wait for something
    finally:
        redis_server.signal(signal.SIGCONT)
    since = time.monotonic()
    chain.wait_for_end(photo, seconds=60 if chain.is_exact else 10)
    judge(chain, trial, outcome(photo, everyone), since)


@pytest.mark.slow
@pytest.mark.row(11, "follows and unfollows without pause during the chain")
def test_follows_and_unfollows_during_the_chain(
    chain: Chain,
    trial: Trial,
    workers: Callable[..., Server],
    author: Any,
    make_users: Callable[[int], list[Any]],
) -> None:
    """Who is there from the first batch to the last gets it once, whoever comes and goes meanwhile."""
    comers, goers = make_users(300), make_users(300)
    graph.follow_many(goers, author)
    present = fill(author.pk, SIZE[chain.is_exact])
    client = feeds_redis.client()
    # A naive chain errs where the list is one longer or shorter as it reads the next batch: with four
    # batches it may get through by luck.
    workers(**({} if chain.is_exact else {"MYDJANGOAPP_BATCH_SIZE": "1000"}))
    stop = threading.Event()
    changes = 0

    def come_and_go() -> None:
        nonlocal changes
        while not stop.is_set():
            for comer, goer in zip(comers, goers, strict=True):
                if chain.is_exact:
                    graph.follow(comer, author)
                    graph.unfollow(goer, author)
                    graph.follow(goer, author)
                    graph.unfollow(comer, author)
                else:  # as it is written where nobody has thought of a running chain
                    client.lpush(keys.followers(author.pk), comer.pk)
                    client.lrem(keys.followers(author.pk), 1, goer.pk)
                    client.lrem(keys.followers(author.pk), 1, comer.pk)
                    client.lpush(keys.followers(author.pk), goer.pk)
                changes += 4
                if stop.is_set():
                    return

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        photo = chain.begin(author)
        chain.wait_for_end(photo, seconds=90)
    finally:
        stop.set()
        thread.join()
    since = time.monotonic()
    assert changes > 100
    judge(chain, trial, outcome(photo, present), since)
    if chain.is_exact:
        assert outcome(photo, [user.pk for user in [*comers, *goers]]).doubled == 0


@pytest.mark.row(7, "the follower list alone is lost in mid-chain")
def test_follower_list_is_lost_in_mid_chain(
    engine: Chain,
    trial: Trial,
    workers: Callable[..., Server],
    author: Any,
    make_users: Callable[[int], list[Any]],
) -> None:
    """The list comes back from SQL, the chain begins again, and nobody gets a second copy."""
    users = [user.pk for user in make_users(30_000)]
    graph.follow_many(users, author)
    worker = workers(
        MYDJANGOAPP_BATCH_SIZE="1000", MYDJANGOAPP_SLICE_SIZE="20", MYDJANGOAPP_SLICES_IN_FLIGHT="1"
    )
    photo = engine.begin(author)
    engine.wait_until_on_its_way(photo, len(users))
    feeds_redis.client().delete(keys.followers(author.pk))
    since = time.monotonic()
    engine.wait_for_end(photo, seconds=60)
    judge(engine, trial, outcome(photo, users), since)
    assert worker.running
