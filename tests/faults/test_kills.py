"""Workers that are killed, stopped and restarted."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil
import pytest

from devtools.servers import Server, wait_until
from mydjangoapp import uploads
from mydjangoapp.models import FanOut
from tests import servers
from tests.checker import ALL_ONCE, fill, outcome, wait_for_end
from tests.faults.trial import SLOW, Trial

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]
Workers = Callable[..., Server]

FAST = {("child", "served"), ("group", "enqueued"), ("child", "pushed")}
STEPS = ["claimed", "served", "enqueued", "carried"]
if "cluster" in servers.ON:
    STEPS.append("pushed")  # and not committed: one step on a single server
KILLS = [
    pytest.param(who, step, marks=() if (who, step) in FAST else pytest.mark.slow)
    for step in STEPS
    for who in ("child", "group")
]


@pytest.mark.row(1, "SIGKILL of the pool child or the whole worker at a named step")
@pytest.mark.parametrize(("who", "step"), KILLS)
def test_sigkill_at_a_step(trial: Trial, workers: Workers, tmp_path: Path, who: str, step: str) -> None:
    trial.follow()
    died = tmp_path / "died"
    failpoint = {
        "FEEDS_FAILPOINT": step,
        "FEEDS_FAILPOINT_KILLS": who,
        "FEEDS_FAILPOINT_ONCE": str(died),
    }
    worker = workers(**SLOW, **failpoint)
    trial.upload()
    wait_until(died.exists, seconds=30, what=f"the step {step} is reached")
    if who == "group":
        wait_until(lambda: not worker.running, seconds=10, what="the whole worker is dead")
        workers(**SLOW)
    trial.healed()
    trial.judge()


@pytest.mark.slow
@pytest.mark.row(1, "SIGKILLs at random moments, of children and of whole workers")
def test_sigkills_at_random(trial: Trial, workers: Workers, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # to be repeated, not to be secret
    trial.follow()
    worker = workers(**SLOW)
    trial.upload(4)
    for _ in range(8):
        time.sleep(chance.uniform(0.05, 1.0))  # the fault's own moment, not a wait for something
        if chance.random() < 0.5:
            for child in psutil.Process(worker.pid).children():
                os.kill(child.pid, signal.SIGKILL)
        else:
            worker.kill()
            worker = workers(**SLOW)
    trial.healed()
    trial.judge()


@pytest.mark.row(12, "a fan-out kills its worker each time", "it is given up, others are served")
def test_a_fanout_that_kills_its_worker_each_time_is_given_up(
    trial: Trial, workers: Workers, make_users: Callable[[int], list[Any]]
) -> None:
    trial.follow(1_000)
    [other] = make_users(1)
    fill(other.pk, 1_000)
    bad = uploads.publish(other, description="deadly", photo_url="https://example.com/p.jpg").pk
    trial.upload()
    workers(FEEDS_FAILPOINT=f"claimed:{bad}", MYDJANGOAPP_MAX_ATTEMPTS="3")
    assert wait_for_end(bad, seconds=33) == "failed"
    trial.judge()
    assert "gave up after 3 starts" in FanOut.objects.get(photo_id=bad).last_error


@pytest.mark.slow
@pytest.mark.row(13, "TERM, QUIT and rolling restarts every 5 s")
def test_rolling_restarts(trial: Trial, workers: Workers) -> None:
    trial.follow()
    old = workers(**SLOW)
    number = cycle([signal.SIGTERM, signal.SIGQUIT])
    for _ in range(6):
        trial.upload(2)
        new = workers(**SLOW)
        time.sleep(5)  # the rhythm of the restarts
        old.process.send_signal(next(number))  # type: ignore[union-attr]  # it was started
        old = new
    trial.healed()
    trial.judge()


@pytest.mark.slow
@pytest.mark.row(13, "TERM in mid-chain, then a new worker")
def test_term_in_mid_chain(trial: Trial, workers: Workers) -> None:
    first = trial.get_under_way()
    first.process.terminate()  # type: ignore[union-attr]  # it was started
    # Celery's own way to end; what is promised is what becomes of the photo.
    try:
        wait_until(lambda: not first.running, seconds=60, what="the worker has ended")
    except TimeoutError as error:
        raise AssertionError(f"{error}\n{first.last_words()}") from error
    assert outcome(trial.photo, trial.present[-1:]) != ALL_ONCE, "it ended too late to mean anything"
    workers(**SLOW)
    trial.healed()
    trial.judge()
