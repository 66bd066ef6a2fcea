"""Sending messages: nobody is held up, whatever the broker does."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from threading import Thread, active_count, current_thread
from typing import Any

import pytest
from celery import Celery

from mydjangoapp import celery_defaults, tasks
from mydjangoapp.connections import broker
from mydjangoapp.connections.breaker import Breaker


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("mydjangoapp.connections.breaker.time", clock)
    return clock


def test_after_a_trip_one_caller_tries_while_the_others_do_without(clock: Clock) -> None:
    breaker = Breaker(seconds=2)
    assert breaker.allows()
    breaker.trip()
    assert not breaker.allows()
    clock.now += 2
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    clock.now += 2
    assert breaker.allows(), "the caller has not told what became of it: the next one"
    breaker.reset()
    assert all(breaker.allows() for _ in range(3))


def _nothing() -> None:
    pass


def noting(threads: list[Thread]) -> Callable[[], None]:
    def note() -> None:
        threads.append(current_thread())

    return note


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(autouse=True)
def _own_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "_breaker", Breaker(seconds=1))
    monkeypatch.setattr(broker, "_hanging", [])
    monkeypatch.delenv("CELERY_BROKER_URL")  # Celery would prefer it to what an app is given


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_never_answers_holds_nobody_up_for_long(
    black_hole: int, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With Celery's own defaults, which would wait for a minute or for ever."""
    app = Celery("somebody", broker=f"{scheme}://127.0.0.1:{black_hole}//", set_as_current=False)
    task = app.task(name="some.task", typing=False)(_nothing)
    began = time.monotonic()
    assert broker.send(task) is False
    assert 0.7 < time.monotonic() - began < 3, "waits for PUBLISH_TIMEOUT and no longer"
    began = time.monotonic()
    assert [broker.send(task) for _ in range(20)] == [False] * 20
    assert time.monotonic() - began < 0.5, "the next ones do not wait at all"
    assert "no answer within 0.8 s" in caplog.text


@pytest.fixture
def hanging(black_hole: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A task whose messages hang for ever: on a site without socket time-outs, in front of a black hole."""
    monkeypatch.setattr(broker, "_breaker", Breaker(seconds=0))
    monkeypatch.setattr("mydjangoapp.conf.Conf.PUBLISH_TIMEOUT", 0.05)
    app = Celery("somebody", broker=f"redis://127.0.0.1:{black_hole}/0", set_as_current=False)
    return app.task(name="some.task", typing=False)(_nothing)


def configured(**settings: Any) -> Any:
    """The configuration of a site's Celery app that has set this."""
    app = Celery("somebody", set_as_current=False)
    app.config_from_object({"broker_url": "amqp://127.0.0.1:1//", **settings})
    celery_defaults.use(app)
    return app.conf


def test_what_the_site_has_set_counts() -> None:
    found = configured(task_default_queue="photos", worker_prefetch_multiplier=4)
    assert (found.task_default_queue, found.worker_prefetch_multiplier) == ("photos", 4)
    assert configured().worker_prefetch_multiplier == 1
    assert configured(broker_heartbeat=60).broker_heartbeat == 60


def test_quorum_queues_bring_what_they_need() -> None:
    """A queue and an exchange of another name: neither can change its type."""
    found = configured(task_default_queue_type="quorum")
    assert (found.task_default_exchange_type, found.task_create_missing_queue_type) == ("topic", "quorum")
    assert found.task_default_queue == found.task_default_exchange == "celery-quorum"
    assert (
        configured(task_default_queue_type="quorum", task_default_queue="mine").task_default_queue == "mine"
    )
    classic = configured()
    assert (classic.task_default_queue, classic.task_default_exchange_type) == ("celery", "direct")


@pytest.mark.parametrize(("queue_type", "counts_down"), [("quorum", [1, 3, 0]), ("classic", [0.2, 2.5, 0])])
def test_a_broker_that_counts_down_counts_whole_seconds(queue_type: str, counts_down: list[float]) -> None:
    app = Celery("somebody", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.task_default_queue_type = queue_type
    task: Any = app.task(name="some.task", typing=False)(_nothing)
    sent: list[float] = []
    task.apply_async = lambda _arguments, *, retry, countdown: sent.append(countdown)
    for countdown in (0.2, 2.5, 0):
        assert broker.send(task, countdown=countdown)
    assert sent == counts_down


def test_threads_that_hang_are_counted(hanging: Any, caplog: pytest.LogCaptureFixture) -> None:
    before = active_count()
    for _ in range(broker.MOST_HANGING + 5):
        assert broker.send(hanging) is False
    assert active_count() - before == broker.MOST_HANGING
    assert caplog.text.count("no answer within") == broker.MOST_HANGING
    assert caplog.text.count("8 calls wait for it already") == 5


def test_a_process_whose_threads_hang_for_ever_publishes_again(
    hanging: Any, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(broker.MOST_HANGING):
        broker.send(hanging)
    monkeypatch.setattr("mydjangoapp.conf.Conf.PUBLISH_TIMEOUT", 5.0)
    assert broker.send(tasks.rescue_fanouts) is False, "too many hang"
    monkeypatch.setattr(broker, "GIVEN_UP_AFTER", 0.0)
    assert broker.send(tasks.rescue_fanouts) is True


def test_whatever_a_transport_raises_is_said_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    app = Celery("somebody", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.broker_transport_options = {"max_retries": 1, "interval_start": 0}
    task = app.task(name="some.task", typing=False)(_nothing)
    assert broker.send(task, 1) is False
    assert "did not take some.task(1,) (OperationalError: Error 111" in caplog.text


def test_tasks_of_a_site_that_wants_them_at_once_run_at_once() -> None:
    app = Celery("somebody", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.task_always_eager = True
    threads: list[Thread] = []
    task = app.task(name="some.task", typing=False)(noting(threads))
    assert broker.send(task) is True
    assert threads == [current_thread()]
