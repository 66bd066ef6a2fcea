"""What every transport promises."""

from __future__ import annotations

import json
import threading
import time

import pytest

from devtools.servers import wait_until
from mydjangoapp.events.transport import ChannelStatus, Transport
from tests.events.conftest import TIMEOUT, Channels, ids, take, take_all, take_nothing


def stands(channels: Channels, channel: str = "one", **figures: int | None) -> ChannelStatus:
    """How far the channel is, as soon as it has these figures: NSQ does not say when it has heard a FIN."""

    def look() -> ChannelStatus:
        [found] = [
            one
            for one in channels.transport.channels()
            if (one.topic, one.channel) == (channels.topic, channel)
        ]
        return found

    def has_them() -> bool:
        found = look()
        return all(getattr(found, name) == value for name, value in figures.items())

    try:
        wait_until(has_them, seconds=5, what=str(figures))
    except TimeoutError as error:
        raise AssertionError(f"{error}: {look()}") from error
    return look()


def test_each_channel_gets_every_message_in_order(channels: Channels) -> None:
    one, other = channels.consumer("one", timeout=60), channels.consumer("other", timeout=60)
    sent = channels.numbered(5)
    for consumer in (one, other):
        taken = take(consumer, 5)
        assert ids(taken) == sent
        assert [json.loads(each.body)["n"] for each in taken] == [0, 1, 2, 3, 4]
        assert {each.attempts for each in taken} == {1}
        consumer.finish(taken)


def test_consumers_of_a_channel_share_its_messages(channels: Channels) -> None:
    # Longer than this test takes on a machine that is busy: no message is given to the other again.
    one, other = channels.consumer(timeout=60), channels.consumer(timeout=60)
    sent = channels.numbered(40)
    first, second = take(one, 20), take(other, 20)
    assert sorted(ids(first) + ids(second)) == sorted(sent)
    one.finish(first)
    other.finish(second)


def test_a_channel_begins_with_now(channels: Channels) -> None:
    channels.transport.subscribe(channels.topic, "early")
    channels.numbered(2)
    assert channels.transport.subscribe(channels.topic, "one")
    [sent] = channels.publish({"n": "late"})
    consumer = channels.consumer()
    taken = take(consumer, 1)
    assert ids(taken) == [sent]
    consumer.finish(taken)


def test_a_channel_begins_at_the_beginning(channels: Channels) -> None:
    sent = channels.numbered(3)
    assert channels.transport.subscribe(channels.topic, "one", from_beginning=True)
    consumer = channels.consumer()
    taken = take(consumer, 3)
    assert ids(taken) == sent
    consumer.finish(taken)


def test_subscribing_twice_changes_nothing(channels: Channels) -> None:
    assert channels.transport.subscribe(channels.topic, "one")
    sent = channels.numbered(2)
    assert not channels.transport.subscribe(channels.topic, "one", from_beginning=True)
    consumer = channels.consumer()
    first = take(consumer, 2)
    consumer.finish(first)
    assert ids(first) == sent
    assert not channels.transport.subscribe(channels.topic, "one", from_beginning=True)
    take_nothing(consumer)


def test_an_unsubscribed_channel_is_gone_with_what_waits(channels: Channels) -> None:
    channels.transport.subscribe(channels.topic, "one")
    channels.transport.subscribe(channels.topic, "other")
    channels.numbered(3)
    assert channels.transport.unsubscribe(channels.topic, "one")
    assert not channels.transport.unsubscribe(channels.topic, "one")
    assert {one.channel for one in channels.transport.channels() if one.topic == channels.topic} == {"other"}
    consumer = channels.consumer()
    take_nothing(consumer)


def test_equal_bodies_are_two_messages(channels: Channels) -> None:
    consumer = channels.consumer()
    sent = channels.publish({"same": 1}, {"same": 1})
    taken = take(consumer, 2)
    assert sent[0] != sent[1]
    assert ids(taken) == sent
    consumer.finish(taken[:1])
    assert ids(take(consumer, 1)) == sent[1:]


def test_the_time_out_counts_from_the_taking_and_not_before(channels: Channels) -> None:
    consumer, other = channels.consumer(), channels.consumer()
    [sent] = channels.publish({})
    began = time.monotonic()
    [first] = take(consumer, 1)
    taken_at = time.monotonic()
    [second] = take(other, 1)
    assert time.monotonic() - began >= TIMEOUT, "it came too early"
    assert time.monotonic() - taken_at < TIMEOUT + 5
    assert (second.id, first.attempts, second.attempts) == (sent, 1, 2)
    other.finish([second])


def test_what_is_acknowledged_never_comes_again(channels: Channels) -> None:
    consumer, other = channels.consumer(), channels.consumer()
    channels.numbered(30)
    consumer.finish(take(consumer, 30))
    take_nothing(other, TIMEOUT * 2.5)
    stands(channels, lag=0, oldest_age=None)


def test_touch_begins_the_time_out_anew(channels: Channels) -> None:
    consumer, other = channels.consumer(), channels.consumer()
    channels.publish({})
    [taken] = take(consumer, 1)
    for _ in range(6):
        take_nothing(other, TIMEOUT / 2)
        assert consumer.touch(taken)
    [again] = take(other, 1)
    assert again.attempts == 2
    assert not consumer.touch(taken), "it is the other's now"
    other.finish([again])


@pytest.mark.parametrize("count_attempt", [True, False])
def test_requeue_waits_as_long_as_asked(channels: Channels, count_attempt: bool) -> None:
    consumer = channels.consumer()
    [sent] = channels.publish({"kept": "as it was", "ü": [1, {"deep": None}]}, action="of this kind")
    [taken] = take(consumer, 1)
    began = time.monotonic()
    assert consumer.requeue(taken, 0.7, count_attempt=count_attempt)
    [again] = take(consumer, 1)
    assert time.monotonic() - began >= 0.7
    assert (again.id, again.action, again.published_at) == (sent, taken.action, taken.published_at)
    assert json.loads(again.body) == {"kept": "as it was", "ü": [1, {"deep": None}]}
    assert again.attempts == (2 if count_attempt else 1)
    assert consumer.requeue(again, 0, count_attempt=True)
    [third] = take(consumer, 1)
    assert third.attempts == again.attempts + 1
    consumer.finish([third])
    take_nothing(consumer)


def test_a_delay_longer_than_the_time_out_is_waited_for(channels: Channels) -> None:
    consumer = channels.consumer()
    channels.publish({})
    [taken] = take(consumer, 1)
    began = time.monotonic()
    consumer.requeue(taken, TIMEOUT * 3, count_attempt=True)
    [again] = take(consumer, 1)
    assert time.monotonic() - began >= TIMEOUT * 3
    assert again.attempts == 2
    consumer.finish([again])


def test_requeue_of_what_another_has_is_refused(channels: Channels) -> None:
    consumer, other = channels.consumer(), channels.consumer()
    channels.publish({})
    [mine] = take(consumer, 1)
    [theirs] = take(other, 1)
    assert not consumer.requeue(mine, 0, count_attempt=True)
    assert not consumer.bury(mine, "mine no more")
    take_nothing(consumer, TIMEOUT / 3)
    other.finish([theirs])
    stands(channels, dead=0)


def test_a_message_published_with_a_delay_comes_then(channels: Channels) -> None:
    consumer = channels.consumer()
    began = time.monotonic()
    [sent] = channels.publish({"late": True}, delay=0.8)
    [taken] = take(consumer, 1)
    assert time.monotonic() - began >= 0.8
    assert (taken.id, taken.attempts) == (sent, 1)
    consumer.finish([taken])


def test_dead_letters_are_listed_replayed_and_purged(channels: Channels) -> None:
    consumer = channels.consumer()
    sent = channels.publish({"n": 1}, {"n": 2}, action="breaks")
    for one in take(consumer, 2):
        assert consumer.bury(one, f"no use: {one.id}")
    listed = list(channels.transport.dead_letters(channels.topic, "one"))
    assert [(one.id, one.action, one.body, one.attempts, one.reason) for one in listed] == [
        (sent[0], "breaks", {"n": 1}, 1, f"no use: {sent[0]}"),
        (sent[1], "breaks", {"n": 2}, 1, f"no use: {sent[1]}"),
    ]
    stands(channels, dead=2)
    take_nothing(consumer, TIMEOUT * 1.5)

    assert channels.transport.replay(channels.topic, "one") == 2
    again = take(consumer, 2)
    assert (sorted(ids(again)), {one.attempts for one in again}) == (sorted(sent), {1})
    assert not list(channels.transport.dead_letters(channels.topic, "one"))

    consumer.finish(again[:1])
    consumer.bury(again[1], "once more")
    assert channels.transport.purge(channels.topic, "one") == 1
    stands(channels, dead=0)
    take_nothing(consumer)


def test_dead_letters_of_one_channel_are_not_anothers(channels: Channels) -> None:
    consumer, other = channels.consumer("one"), channels.consumer("other")
    channels.publish({})
    consumer.bury(take(consumer, 1)[0], "here only")
    other.finish(take(other, 1))
    stands(channels, "one", dead=1)
    stands(channels, "other", dead=0, lag=0)


def test_of_many_sweepers_one_returns_a_due_message(channels: Channels) -> None:
    consumer = channels.consumer(timeout=30)
    sent = channels.numbered(60)
    for number, one in enumerate(take(consumer, 60)):
        consumer.requeue(one, 0.2 + number / 300, count_attempt=True)
    found: list[str] = []
    lock = threading.Lock()

    def sweep() -> None:
        mine = channels.consumer(timeout=30)
        taken = take_all(mine, 1.0)
        with lock:
            found.extend(ids(taken))

    threads = [threading.Thread(target=sweep) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(sent)


def test_only_success_is_remembered(channels: Channels) -> None:
    consumer = channels.consumer()
    done, again, dead = channels.numbered(3)
    taken = take(consumer, 3)
    consumer.finish(taken[:1])
    consumer.requeue(taken[1], 60, count_attempt=True)
    consumer.bury(taken[2], "bad")
    assert consumer.remembered([done, again, dead, "unknown"]) == {done}
    assert channels.consumer("other").remembered([done]) == set()


def test_a_standing_counts_what_waits_is_in_hand_deferred_and_dead(channels: Channels) -> None:
    consumer = channels.consumer(timeout=60)
    channels.numbered(10)
    taken = take(consumer, 6)
    consumer.finish(taken[:1])
    consumer.requeue(taken[1], 60, count_attempt=True)
    consumer.requeue(taken[2], 60, count_attempt=True)
    consumer.bury(taken[3], "bad")
    stands(channels, depth=4, in_flight=2, deferred=2, dead=1, lag=8)


def test_a_consumer_that_vanished_leaves_its_messages_to_others(channels: Channels) -> None:
    gone, consumer = channels.consumer(), channels.consumer()
    sent = channels.numbered(50)
    take(gone, 50)
    found = take(consumer, 50)
    assert sorted(ids(found)) == sorted(sent)
    assert {one.attempts for one in found} == {2}
    consumer.finish(found)
    gone.close()
    stands(channels, lag=0)


def test_two_who_subscribe_at_once_make_one_channel(transport: Transport, topic: str) -> None:
    made: list[bool] = []
    threads = [
        threading.Thread(target=lambda: made.append(transport.subscribe(topic, "one"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]
