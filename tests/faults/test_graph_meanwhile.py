"""Follows and unfollows in masses while chains run and lists are compacted."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count, cycle
from typing import Any

import pytest

from devtools.servers import Server, wait_until
from mydjangoapp import graph
from mydjangoapp.homefeed import followers, keys
from mydjangoapp.homefeed.followers import Change
from tests.checker import outcome, wait_for_end
from tests.faults.trial import SLOW, Trial

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]
Workers = Callable[..., Server]

PER_SECOND = 1_000
COMERS = range(5_000_001, 5_005_001)


@pytest.mark.slow
@pytest.mark.row(11, "1,000 follows and unfollows a second during chains, lists compacted in between")
def test_follows_and_unfollows_and_compaction_during_chains(
    trial: Trial, workers: Workers, redis: Any, make_users: Callable[[int], list[Any]], meanwhile: Any
) -> None:
    graph.follow_many(make_users(300), trial.author)
    trial.follow(30_000)
    rows, users = count(10_000_000), cycle(COMERS)
    begun = time.monotonic()
    changes = 0

    def come_and_go() -> None:
        """As `graph` does it on commit; SQL alone could not do as many a second."""
        nonlocal changes
        while changes < (time.monotonic() - begun) * PER_SECOND:
            some = []
            for _ in range(50):
                user, row = next(users), next(rows)
                some += [Change("follow", user, row), Change("unfollow", user, row)]
            followers.apply(trial.author.pk, some)
            changes += len(some)

    worker = workers(**SLOW, MYDJANGOAPP_COMPACT_AFTER="20")

    def generation() -> Any:
        return redis.hget(keys.state(trial.author.pk), "generation")

    first = generation()
    with meanwhile(come_and_go, pause=0.01):
        for _ in range(3):
            wait_for_end(trial.upload(), seconds=60)
            wait_until(lambda: changes > 10_000, seconds=60, what="many have come and gone")
        wait_until(lambda: generation() != first, seconds=30, what="the list has been compacted")
        trial.upload()
    assert changes > 0.8 * PER_SECOND * (time.monotonic() - begun), "too few to mean anything"
    trial.judge()
    for photo in trial.photos:
        assert outcome(photo, COMERS).doubled == 0
    assert "Traceback" not in worker.log.read_text()
