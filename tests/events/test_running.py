"""The runner: what becomes of a message after its handler."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from devtools.servers import wait_until
from mydjangoapp.events import Message, Worker, action
from mydjangoapp.events.message import Outgoing, now
from mydjangoapp.events.running import Runner, back_off
from mydjangoapp.exceptions import EventsUnavailable
from tests.events.conftest import TIMEOUT, Channels, take, take_nothing
from tests.events.test_contract import stands


class Recorder(Worker):
    """Keeps what it gets, and does with it what its body asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Message] = []
        self.at: list[float] = []
        self.act: Callable[[Message], object] = lambda message: None

    @action("tested", "tested.too")
    def tested_handler(self, message: Message) -> None:
        self.seen.append(message)
        self.at.append(time.monotonic())
        self.act(message)


def run(channels: Channels, worker: Recorder, idle: float = 0.5, **options: Any) -> Runner:
    """Runs it until nothing comes any more."""
    runner = Runner(worker, channels.consumer(), timeout=TIMEOUT, **options)
    runner.run(until_idle=idle)
    return runner


@pytest.fixture
def worker(channels: Channels) -> Recorder:
    """On the test's topic, in channel `one`."""
    made = Recorder()
    made.topic, made.channel = channels.topic, "one"  # type: ignore[misc]
    channels.transport.subscribe(channels.topic, "one")
    return made


pytestmark = pytest.mark.django_db(transaction=True)


def test_a_handler_that_returns_has_finished_its_message(channels: Channels, worker: Recorder) -> None:
    [sent] = channels.publish({"n": 1})
    run(channels, worker)
    [message] = worker.seen
    assert (message.id, message.topic, message.action) == (sent, channels.topic, "tested")
    assert (message.body, message.attempts) == ({"n": 1}, 1)
    assert datetime.fromisoformat(message.published_at) <= datetime.now(UTC)
    stands(channels, lag=0)


def test_other_actions_are_finished_untouched(channels: Channels, worker: Recorder) -> None:
    channels.publish({}, action="unknown")
    channels.publish({}, action="tested.too")
    run(channels, worker)
    assert [one.action for one in worker.seen] == ["tested.too"]
    stands(channels, lag=0)


def test_a_handler_that_raises_is_called_again_later_each_time_and_then_no_more(
    channels: Channels, worker: Recorder, settings: Any
) -> None:
    settings.MYDJANGOAPP = {
        **settings.MYDJANGOAPP,
        "EVENTS_MAX_ATTEMPTS": 3,
        "EVENTS_BACKOFF_MAX": 1.5,
    }
    worker.act = lambda message: 1 // 0
    [bad] = channels.publish({"n": 1})
    run(channels, worker, idle=2.0)
    assert [one.attempts for one in worker.seen] == [1, 2, 3]
    assert worker.at[1] - worker.at[0] >= 1.0
    assert worker.at[2] - worker.at[1] >= 1.5
    [letter] = channels.transport.dead_letters(channels.topic, "one")
    assert (letter.id, letter.attempts) == (bad, 3)
    assert letter.reason == "gave up after 3 attempts: ZeroDivisionError: integer division or modulo by zero"


def test_the_back_off_doubles_up_to_its_cap(settings: Any) -> None:
    assert [back_off(n) for n in (1, 2, 3, 6, 7, 8, 5_000)] == [1, 2, 4, 32, 60, 60, 60]


def test_one_bad_message_does_not_hold_up_the_others(channels: Channels, worker: Recorder) -> None:
    def act(message: Message) -> None:
        if message.body["n"] == 3 and message.attempts == 1:
            raise RuntimeError("not yet")

    worker.act = act
    channels.numbered(10)
    run(channels, worker, idle=1.5)
    assert [one.body["n"] for one in worker.seen] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3]
    stands(channels, lag=0)


def test_requeue_without_counting_goes_on_for_ever(
    channels: Channels, worker: Recorder, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_MAX_ATTEMPTS": 2}

    def act(message: Message) -> None:
        if len(worker.seen) < 6:
            message.requeue(delay=0.05, count_attempt=False)

    worker.act = act
    channels.publish({})
    run(channels, worker)
    assert [one.attempts for one in worker.seen] == [1] * 6
    stands(channels, lag=0, dead=0)


def test_requeue_that_counts_ends_with_the_dead_letters(
    channels: Channels, worker: Recorder, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_MAX_ATTEMPTS": 2}
    worker.act = lambda message: message.requeue(delay=0)
    channels.publish({})
    run(channels, worker)
    assert [one.attempts for one in worker.seen] == [1, 2]
    [letter] = channels.transport.dead_letters(channels.topic, "one")
    assert letter.reason == "gave up after 2 attempts: its handler asked for it again"


def test_dead_sends_it_to_the_dead_letters_at_once(channels: Channels, worker: Recorder) -> None:
    worker.act = lambda message: message.dead("of no use")
    channels.publish({})
    run(channels, worker)
    [letter] = channels.transport.dead_letters(channels.topic, "one")
    assert (letter.reason, len(worker.seen)) == ("of no use", 1)


def test_what_is_no_object_is_not_handled(channels: Channels, worker: Recorder) -> None:
    for body in ("{broken", '["list"]', "17"):
        channels.transport.publish(channels.topic, [Outgoing("1", channels.topic, "tested", body, now())])
    run(channels, worker)
    assert not worker.seen
    letters = list(channels.transport.dead_letters(channels.topic, "one"))
    assert ["its body is not" in one.reason for one in letters] == [True] * 3


def test_a_message_that_had_succeeded_is_finished_without_its_handler(
    channels: Channels, worker: Recorder
) -> None:
    [sent] = channels.publish({"n": 1})
    run(channels, worker)
    [again] = _send_again(channels, sent, 1)
    run(channels, worker)
    assert (len(worker.seen), again) == (1, sent)
    stands(channels, lag=0)


def test_a_message_that_failed_is_not_remembered(channels: Channels, worker: Recorder) -> None:
    worker.act = lambda message: message.dead("failed")
    [sent] = channels.publish({"n": 1})
    run(channels, worker)
    _send_again(channels, sent, 1)
    run(channels, worker)
    assert len(worker.seen) == 2


def test_a_message_that_was_published_twice_is_handled_once(channels: Channels, worker: Recorder) -> None:
    [sent] = channels.publish({"n": 1})
    _send_again(channels, sent, 5)
    run(channels, worker)
    assert len(worker.seen) == 1
    stands(channels, lag=0)


def _send_again(channels: Channels, id_: str, times: int) -> list[str]:
    twice = Outgoing(id_, channels.topic, "tested", '{"n": 1}', now())
    channels.transport.publish(channels.topic, [twice] * times)
    return [id_] * times


def test_a_message_whose_workers_die_goes_to_the_dead_letters(
    channels: Channels, worker: Recorder, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_MAX_ATTEMPTS": 2}
    channels.publish({})
    for _ in range(2):
        take(channels.consumer(), 1)
    run(channels, worker, idle=TIMEOUT * 2.5)
    assert not worker.seen
    [letter] = channels.transport.dead_letters(channels.topic, "one")
    assert "taken 2 times and not finished" in letter.reason


def test_a_long_handler_keeps_its_message_by_touching_it(channels: Channels, worker: Recorder) -> None:
    other = channels.consumer()

    def act(message: Message) -> None:
        for _ in range(6):
            assert message.touch()
            take_nothing(other, TIMEOUT / 2)

    worker.act = act
    channels.publish({})
    run(channels, worker)
    assert len(worker.seen) == 1
    take_nothing(other, TIMEOUT * 2)


def test_messages_that_wait_in_hand_behind_a_slow_one_are_handled_once(
    channels: Channels, worker: Recorder
) -> None:
    worker.act = lambda message: time.sleep(TIMEOUT / 4)  # as long as the work takes
    channels.numbered(8)
    other = channels.consumer()
    found: list[Any] = []
    looking = threading.Event()

    def look() -> None:
        while not looking.is_set():
            if taken := other.take(10, 0.05):
                other.finish(taken)
                found.extend(taken)

    thread = threading.Thread(target=look)
    runner = Runner(worker, channels.consumer(), timeout=TIMEOUT)
    consumer_first = threading.Thread(target=lambda: runner.run(until_idle=1.0))
    consumer_first.start()
    wait_until(lambda: bool(worker.seen), seconds=10, what="the first is in work")
    thread.start()
    consumer_first.join()
    looking.set()
    thread.join()
    handled = [one.id for one in worker.seen]
    assert len(handled) == len(set(handled)), "none was handled twice"
    assert not set(handled) & {one.id for one in found}, "none was handled that another has"


def test_stop_finishes_what_is_in_hand(channels: Channels, worker: Recorder) -> None:
    begun = threading.Event()

    def act(message: Message) -> None:
        begun.set()
        time.sleep(0.05)  # the work

    worker.act = act
    channels.numbered(300)
    runner = Runner(worker, channels.consumer(), max_in_flight=8, timeout=30)
    thread = threading.Thread(target=runner.run)
    thread.start()
    assert begun.wait(10)
    runner.stop()
    thread.join(10)
    assert not thread.is_alive()
    # What was not handled was given back, what was is acknowledged.
    found = stands(channels, in_flight=0, lag=300 - len(worker.seen))
    assert found.dead == 0
    assert 0 < len(worker.seen) < 300


def test_a_handler_that_takes_too_long_to_stop_is_cut_off_and_its_messages_given_back(
    channels: Channels, worker: Recorder, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_DRAIN": 0.3}
    release, begun, left = threading.Event(), threading.Event(), threading.Event()

    def act(message: Message) -> None:
        begun.set()
        release.wait(20)

    worker.act = act
    channels.numbered(5)
    runner = Runner(worker, channels.consumer(), timeout=30, leave=lambda status: left.set())
    thread = threading.Thread(target=runner.run)
    thread.start()
    assert begun.wait(10)
    runner.stop()
    assert left.wait(10)
    try:
        again = take(channels.consumer(), 5, seconds=5)
        assert {one.attempts for one in again} == {1}, "being stopped is not counted"
    finally:
        release.set()
        thread.join(10)


def test_a_transport_that_is_away_is_waited_for(channels: Channels, worker: Recorder) -> None:
    consumer = channels.consumer()
    away = [True, True]
    take_ = consumer.take

    def take_or_fail(most: int, wait: float) -> Any:
        if away:
            away.pop()
            raise EventsUnavailable("it is away")
        return take_(most, wait)

    consumer.take = take_or_fail  # type: ignore[method-assign]
    [sent] = channels.publish({})
    Runner(worker, consumer, timeout=TIMEOUT).run(until_idle=3)
    assert [one.id for one in worker.seen] == [sent]


def test_a_message_that_ends_its_worker_is_counted_and_does_not_come_at_once(
    channels: Channels, worker: Recorder
) -> None:
    def act(message: Message) -> None:
        raise SystemExit(3)

    worker.act = act
    channels.numbered(3)
    with pytest.raises(SystemExit):
        run(channels, worker)
    assert len(worker.seen) == 1
    other = channels.consumer(timeout=30)
    rest = take(other, 2, seconds=TIMEOUT / 2)
    assert {json.loads(one.body)["n"] for one in rest} == {1, 2}, "the others are given back at once"
    [again] = take(channels.consumer(), 1)
    assert (again.id, again.attempts) == (worker.seen[0].id, 2)


@pytest.mark.parametrize("body", ['{"n": ' + "[" * 3_000 + "]" * 3_000 + "}", '{"n": NaN}'])
def test_a_body_that_cannot_be_opened_is_a_dead_letter(
    channels: Channels, worker: Recorder, body: str
) -> None:
    [fine] = channels.publish({})
    channels.transport.publish(channels.topic, [Outgoing("bad", channels.topic, "tested", body, now())])
    run(channels, worker)
    assert [one.id for one in worker.seen] == [fine]
    [letter] = channels.transport.dead_letters(channels.topic, "one")
    assert "its body is not JSON" in letter.reason


def test_a_reason_may_be_any_text(channels: Channels, worker: Recorder) -> None:
    worker.act = lambda message: message.dead("half a pair: \ud800")
    channels.publish({})
    run(channels, worker)
    [letter] = channels.transport.dead_letters(channels.topic, "one")
    assert letter.reason == "half a pair: \\ud800"


def test_nothing_is_taken_while_what_was_handled_cannot_be_acknowledged(
    channels: Channels, worker: Recorder
) -> None:
    consumer = channels.consumer(timeout=30)
    finish = consumer.finish
    away = threading.Event()
    away.set()
    tries: list[int] = []

    def finish_or_fail(deliveries: Any, *, remember: bool = True) -> None:
        if away.is_set():
            tries.append(len(deliveries))
            raise RuntimeError("of a kind that nobody expects")
        finish(deliveries, remember=remember)

    consumer.finish = finish_or_fail  # type: ignore[method-assign]
    channels.numbered(50)
    runner = Runner(worker, consumer, max_in_flight=4, timeout=30)
    thread = threading.Thread(target=lambda: runner.run(until_idle=1.0))
    thread.start()
    # Some seconds, in which all fifty would have been handled.
    wait_until(lambda: len(tries) >= 3, seconds=20, what="it has been tried three times to acknowledge them")
    assert 4 <= len(worker.seen) <= 8, "what may be in hand, and the take before it was full"
    away.clear()
    thread.join(20)
    stands(channels, lag=0)
    assert len(worker.seen) == 50
