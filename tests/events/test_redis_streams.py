"""What only Redis Streams have: streams and groups that are deleted, trimming, raw entries, a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from devtools.servers import RedisServer, wait_until
from mydjangoapp.events.message import Outgoing
from mydjangoapp.events.redis_streams import consumer as consumers
from mydjangoapp.events.redis_streams import keys
from mydjangoapp.events.redis_streams.server import beside_the_feeds, store
from mydjangoapp.events.redis_streams.transport import RedisStreams
from mydjangoapp.events.transport import Transport
from mydjangoapp.exceptions import EventsRefused, EventsUnavailable
from tests.events.conftest import Channels, ids, take, take_all, take_nothing


@pytest.fixture(params=["redis"])
def transport(redis: Any) -> Transport:
    """Redis Streams only."""
    return RedisStreams(beside_the_feeds())


@pytest.fixture
def database(redis: Any) -> Any:
    """A client of the events' database."""
    return store(beside_the_feeds()).client()


def test_a_group_that_was_deleted_is_made_again_where_it_stood(channels: Channels, database: Any) -> None:
    consumer = channels.consumer(timeout=30)
    sent = channels.numbered(10)
    taken = take(consumer, 6)
    consumer.finish(taken[:4])
    database.xgroup_destroy(keys.stream(channels.topic), "one")
    sent += channels.numbered(1)
    again = take(consumer, 7)
    assert ids(again) == sent[4:], "what was finished comes not, what was in hand and what waited does"
    consumer.finish(again)
    take_nothing(consumer)


def test_a_stream_that_was_deleted_is_made_again(channels: Channels, database: Any) -> None:
    consumer = channels.consumer()
    channels.numbered(3)
    taken = take(consumer, 3)
    database.delete(keys.stream(channels.topic))
    sent = channels.numbered(2)
    consumer.finish(taken)
    found = take(consumer, 2)
    assert ids(found) == sent
    consumer.finish(found)


def test_a_database_that_was_emptied_goes_on(channels: Channels, database: Any) -> None:
    consumer = channels.consumer()
    channels.numbered(3)
    take(consumer, 1)
    database.flushdb()
    sent = channels.numbered(2)
    assert ids(take(consumer, 2)) == sent


def test_streams_stay_bounded_and_lose_nothing(channels: Channels, database: Any, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_KEEP": 500}
    consumer, slow = channels.consumer("one", timeout=60), channels.consumer("slow", timeout=60)
    sent: list[str] = []
    stream = keys.stream(channels.topic)
    for _ in range(10):
        sent += channels.numbered(500)
        consumer.finish(take(consumer, 500))
    assert database.xlen(stream) == 5_000, "the slow channel has none of them yet"
    in_hand = take(slow, 100)
    channels.numbered(500)
    assert database.xlen(stream) == 5_500, "the first is in hand"
    consumer.finish(take(consumer, 500))
    deferred, *finished = in_hand
    slow.finish(finished)
    slow.requeue(deferred, 0.1, count_attempt=True)
    rest = take_all(slow)
    assert sorted(ids([deferred, *finished])) == sorted(sent[:100])
    assert len(rest) == 5_401
    slow.finish(rest)
    for _ in range(3):
        channels.numbered(500)
        consumer.finish(take(consumer, 500))
        slow.finish(take(slow, 500))
    assert 500 <= database.xlen(stream) <= 1_200
    assert database.xlen(keys.again(channels.topic, "slow")) == 0


def test_a_topic_that_nobody_listens_to_keeps_the_newest(
    channels: Channels, database: Any, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_KEEP": 500}
    sent = channels.numbered(3_000)
    assert 500 <= database.xlen(keys.stream(channels.topic)) <= 1_200
    channels.transport.subscribe(channels.topic, "one", from_beginning=True)
    kept = ids(take_all(channels.consumer(timeout=30)))
    assert kept == sent[-len(kept) :]
    assert len(kept) >= 500


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": "x", "action": "a", "body": "{not json"}, "its body is not JSON"),
        ({"id": "x", "action": "a", "body": "[1]"}, "not a JSON object but list"),
        ({"id": "x", "action": "a", "body": b"\xff\xfe"}, "its body is not JSON"),
        ({"something": "else"}, "it has no id or no action"),
    ],
)
def test_what_is_no_message_says_why(
    channels: Channels, database: Any, fields: dict[str, str], reason: str
) -> None:
    consumer = channels.consumer()
    database.xadd(keys.stream(channels.topic), fields)
    [taken] = take(consumer, 1)
    with pytest.raises(ValueError, match=reason):
        taken.opened()
    assert consumer.bury(taken, reason)
    [letter] = channels.transport.dead_letters(channels.topic, "one")
    assert (letter.reason, letter.attempts) == (reason, 1)
    if "body" not in fields:
        assert letter.body == fields


def test_what_is_remembered_goes_after_its_time(channels: Channels, database: Any, settings: Any) -> None:
    consumer = channels.consumer()
    channels.numbered(50)
    consumer.finish(take(consumer, 50))
    done = keys.done(channels.topic, "one")
    assert database.zcard(done) == 50
    assert 3_000 < database.ttl(done) <= 3_600
    for member in database.zrange(done, 0, -1):
        database.zincrby(done, -4_000, member)
    channels.numbered(20)
    consumer.finish(take(consumer, 20))
    assert database.zcard(done) == 30, "twice as many go as come"
    channels.numbered(20)
    consumer.finish(take(consumer, 20))
    assert database.zcard(done) == 40


def test_consumers_that_vanished_are_forgotten_when_they_have_nothing_in_hand(
    channels: Channels, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle, busy, consumer = (channels.consumer(timeout=0.5) for _ in range(3))
    stream = keys.stream(channels.topic)
    sent = channels.numbered(3)
    idle.finish(take(idle, 1))
    take(busy, 1)
    assert len(database.xinfo_consumers(stream, "one")) == 3
    monkeypatch.setattr(consumers, "VANISHED_SECONDS", 0.001)
    found = take(consumer, 2)
    consumer.finish(found)
    assert sorted(ids(found)) == sorted(sent[1:]), "what it had in hand was claimed first"
    consumer._tidy_at = 0  # type: ignore[attr-defined]  # instead of waiting for a minute
    gone = {one._name.encode() for one in (idle, busy)}  # type: ignore[attr-defined]
    wait_until(
        lambda: (
            not consumer.take(1, 0.05)
            and not gone & {one["name"] for one in database.xinfo_consumers(stream, "one")}
        ),
        seconds=10,
        what="the consumers that have nothing in hand are forgotten",
    )


def test_nothing_is_lost_when_redis_is_restarted(tmp_path: Path, topic: str) -> None:
    with RedisServer.at(tmp_path / "redis") as server:
        channels = Channels(RedisStreams(server.url(3)), topic)
        consumer = channels.consumer()
        sent = channels.numbered(10)
        taken = take(consumer, 4)
        server.stop()
        with pytest.raises(EventsUnavailable, match="does not answer"):
            consumer.take(1, 0.1)
        with pytest.raises(EventsUnavailable):
            channels.publish({})
        server.start()
        consumer.finish(taken)
        rest = take(consumer, 6)
        assert ids(taken + rest) == sent
        consumer.finish(rest)
        take_nothing(consumer)


def test_a_key_of_a_wrong_type_is_named(channels: Channels, database: Any) -> None:
    database.set(keys.stream(channels.topic), "a string")
    with pytest.raises(EventsRefused, match="WRONGTYPE"):
        channels.publish({})


def test_anyone_may_look_with_redis_cli(channels: Channels, database: Any) -> None:
    channels.transport.subscribe(channels.topic, "one")
    [sent] = channels.publish({"n": 1}, action="looked.at")
    [(_, fields)] = database.xrange(f"events:{{{channels.topic}}}")
    assert fields[b"id"].decode() == sent
    assert fields[b"action"] == b"looked.at"
    assert json.loads(fields[b"body"]) == {"n": 1}
    [group] = database.xinfo_groups(f"events:{{{channels.topic}}}")
    assert (group["name"], group["pending"]) == (b"one", 0)


def test_a_batch_is_published_whole_or_not_at_all(channels: Channels, database: Any) -> None:
    database.config_set("maxmemory", 1)
    try:
        with pytest.raises(EventsRefused, match="maxmemory"):
            channels.transport.publish(
                channels.topic, [Outgoing.new(channels.topic, "a", {"n": n}) for n in range(100)]
            )
    finally:
        database.config_set("maxmemory", 0)
    assert database.xlen(keys.stream(channels.topic)) == 0


def test_never_more_is_taken_than_asked_for(channels: Channels) -> None:
    consumer = channels.consumer(timeout=30)
    channels.numbered(6)
    for one in take(consumer, 3):
        consumer.bury(one, "to be replayed")
    channels.transport.replay(channels.topic, "one")
    seen = []
    for _ in range(6):
        taken = consumer.take(1, 1.0)
        assert len(taken) == 1
        seen += ids(taken)
        consumer.finish(taken)
    assert len(set(seen)) == 6


def test_messages_that_were_delayed_are_cut_off_too(
    channels: Channels, database: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_KEEP": 300}
    monkeypatch.setattr(consumers, "TIDY_SECONDS", 0.1)
    consumer = channels.consumer(timeout=30)
    channels.publish(*({"n": n} for n in range(2_000)), delay=0.1)
    consumer.finish(take(consumer, 2_000))
    wait_until(
        lambda: not consumer.take(1, 0.1) and database.xlen(keys.stream(channels.topic)) <= 500,
        seconds=10,
        what="the stream is cut",
    )


def test_a_long_backlog_is_not_counted_to_its_end(channels: Channels) -> None:
    channels.transport.subscribe(channels.topic, "one")
    channels.numbered(25_000)
    [found] = [one for one in channels.transport.channels() if one.topic == channels.topic]
    assert found.depth == 25_000


def test_how_far_a_channel_is_costs_the_same_however_far_it_is_behind(
    channels: Channels, database: Any
) -> None:
    """Where the server does not count for itself ten thousand messages were read, for each look at
    /metrics."""
    stream = keys.stream(channels.topic)
    consumer = channels.consumer(timeout=30)
    channels.numbered(15_000)
    take(consumer, 1)
    database.xdel(stream, database.xrange(stream, count=10)[9][0])  # from here on it does not count
    nodes = store(beside_the_feeds()).nodes()
    for node in nodes:
        node.config_resetstat()
    [found] = [one for one in channels.transport.channels() if one.topic == channels.topic]
    stats: list[Any] = [node.info("commandstats").get("cmdstat_xrange", {"calls": 0}) for node in nodes]
    assert 0 < sum(one["calls"] for one in stats) <= 8
    assert found.in_flight >= 1
    assert 12_000 < found.depth <= 15_000
