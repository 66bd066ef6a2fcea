"""Sending messages: nobody is held up, whatever the broker does."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from threading import Event, Thread, current_thread

import pytest
from celery import Celery

from mydjangoapp import broker
from mydjangoapp.breaker import Breaker


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("mydjangoapp.breaker.time", clock)
    return clock


def test_after_a_trip_one_caller_tries_while_the_others_do_without(clock: Clock) -> None:
    breaker = Breaker(seconds=2)
    assert breaker.allows()
    breaker.trip()
    assert not breaker.allows()
    clock.now += 2
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    clock.now += 2
    assert breaker.allows(), "he has not said what became of it: the next one"
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


def test_threads_that_hang_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = Event()

    class Task:
        name = "some.task"
        app = Celery("somebody", set_as_current=False)
        begun = 0

        def apply_async(self, *_: object, **__: object) -> None:
            Task.begun += 1
            ended.wait(30)

    monkeypatch.setattr(broker, "_breaker", Breaker(seconds=0))
    monkeypatch.setattr("mydjangoapp.conf.Conf.PUBLISH_TIMEOUT", 0.01)
    try:
        for _ in range(broker.MOST_HANGING + 5):
            broker.send(Task())  # type: ignore[arg-type]  # all that it needs
        assert Task.begun == broker.MOST_HANGING
    finally:
        ended.set()


def test_whatever_a_transport_raises_is_said_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    app = Celery("somebody", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.broker_transport_options = {"max_retries": 1, "interval_start": 0}
    task = app.task(name="some.task", typing=False)(_nothing)
    assert broker.send(task, 1) is False
    assert "did not take some.task(1,) (OperationalError: Error 111" in caplog.text


def test_a_process_whose_threads_hang_for_ever_publishes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a site without socket time-outs a thread may never come back."""
    ended = Event()

    class Task:
        name = "some.task"
        app = Celery("somebody", set_as_current=False)
        away = True

        def apply_async(self, *_: object, **__: object) -> None:
            if self.away:
                ended.wait(30)

    monkeypatch.setattr(broker, "_breaker", Breaker(seconds=0))
    monkeypatch.setattr("mydjangoapp.conf.Conf.PUBLISH_TIMEOUT", 0.01)
    task = Task()
    try:
        for _ in range(broker.MOST_HANGING):
            broker.send(task)  # type: ignore[arg-type]  # all that it needs
        task.away = False
        assert broker.send(task) is False  # type: ignore[arg-type]
        monkeypatch.setattr(broker, "GIVEN_UP_AFTER", 0.0)
        monkeypatch.setattr("mydjangoapp.conf.Conf.PUBLISH_TIMEOUT", 1.0)
        assert broker.send(task) is True  # type: ignore[arg-type]
    finally:
        ended.set()


def test_tasks_of_a_site_that_wants_them_at_once_run_at_once() -> None:
    app = Celery("somebody", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.task_always_eager = True
    threads: list[Thread] = []
    task = app.task(name="some.task", typing=False)(noting(threads))
    assert broker.send(task) is True
    assert threads == [current_thread()]
