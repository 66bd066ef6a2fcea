"""What only NSQ has: several nsqd, nsqlookupd, heartbeats, messages of other programs."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.servers import free_port, wait_until
from mydjangoapp.events import Message, publish
from mydjangoapp.events.message import Outgoing, now
from mydjangoapp.events.nsq import connection as connections
from mydjangoapp.events.nsq import wire
from mydjangoapp.events.nsq.address import Addresses, addresses
from mydjangoapp.events.nsq.connection import Connection
from mydjangoapp.events.nsq.transport import Nsq
from mydjangoapp.events.running import Runner
from mydjangoapp.events.transport import Transport
from mydjangoapp.exceptions import BadEvent, BadSetting, EventsRefused, EventsUnavailable
from tests.events.conftest import Channels, NsqServer, ids, take, take_all, take_nothing
from tests.events.test_contract import stands
from tests.events.test_running import Recorder


@pytest.fixture(params=["nsq"])
def transport(redis: Any, nsqd: str) -> Transport:
    """NSQ only."""
    return Nsq(nsqd)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NsqServer]:
    """One that a test may stop."""
    with NsqServer.at(tmp_path) as started:
        yield started


@pytest.fixture
def second(tmp_path: Path) -> Iterator[NsqServer]:
    """Another."""
    with NsqServer.at(tmp_path) as started:
        yield started


def post(transport: Transport, path: str, body: bytes) -> None:
    """As another program would."""
    [host] = transport.at.http  # type: ignore[attr-defined]
    with urllib.request.urlopen(f"http://{host}{path}", body) as answer:  # our own server
        assert answer.status == 200


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("nsq://a", Addresses((("a", 4150),), (), ("a:4151",))),
        (
            "nsq://a:1,b:2?http=3",
            Addresses((("a", 1), ("b", 2)), (), ("a:3", "b:3")),
        ),
        ("nsq://a:1,b:2?http=3,4", Addresses((("a", 1), ("b", 2)), (), ("a:3", "b:4"))),
        (
            "nsq+lookupd://l:4161,m?http=a:4151,b",
            Addresses((), ("l:4161", "m:4161"), ("a:4151", "b:4151")),
        ),
    ],
)
def test_urls_name_nsqd_or_nsqlookupd(url: str, found: Addresses) -> None:
    assert addresses(url) == found


@pytest.mark.parametrize(
    "url", ["nsq://", "nsq://a:x", "nsq://a,b,c?http=1,2", "nsq+lookupd://a", "nsq://a:1?http=x"]
)
def test_bad_urls_are_named(url: str) -> None:
    with pytest.raises(BadSetting, match="EVENTS_URL"):
        addresses(url)


def test_an_envelope_opens_as_it_was_closed() -> None:
    one = Outgoing("abc", "t", "an action", '{"n":1,"ü":"ß"}', now())
    frame = wire.Frame(b"0" * 16, 2, wire.envelope(one, channel="c", attempts=3))
    opened, channel = wire.opened(frame, None)
    assert (opened.id, opened.action, opened.opened(), opened.attempts) == (
        "abc",
        "an action",
        {"n": 1, "ü": "ß"},
        5,
    )
    assert (opened.published_at, channel) == (one.published_at, "c")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{not json", "its body is not JSON"),
        (b"[1]", "not a JSON object but list"),
        (b"\xff\x00", "its body is not JSON"),
        (b'{"some": "thing"}', "it has no id or no action"),
        (b'{"action": "a", "body": [1]}', "not a JSON object but list"),
        (b'{"action": "a"}', "not a JSON object but NoneType"),
    ],
)
def test_what_other_programs_put_there_and_is_no_message_is_dead(
    channels: Channels, body: bytes, reason: str
) -> None:
    consumer = channels.consumer()
    post(channels.transport, f"/pub?topic={channels.topic}", body)
    [taken] = take(consumer, 1)
    with pytest.raises(ValueError, match=reason):
        taken.opened()
    assert consumer.bury(taken, reason)
    [letter] = channels.transport.dead_letters(channels.topic, "one")
    assert letter.reason == reason


def test_a_message_of_another_program_needs_no_id(channels: Channels) -> None:
    consumer = channels.consumer()
    post(channels.transport, f"/pub?topic={channels.topic}", b'{"action": "theirs", "body": {"n": 1}}')
    [taken] = take(consumer, 1)
    assert (len(taken.id), taken.action, taken.opened()) == (16, "theirs", {"n": 1})
    consumer.finish([taken])


def test_what_is_published_can_be_read_by_other_programs(channels: Channels) -> None:
    channels.publish({"n": 1}, action="ours")
    found: list[bytes] = []
    arrived = threading.Event()

    def deliver(of: Connection, frame: wire.Frame) -> None:
        found.append(frame.body)
        arrived.set()

    [address] = channels.transport.at.tcp  # type: ignore[attr-defined]
    raw = Connection(address, channels.topic, "theirs", timeout=5, deliver=deliver)
    raw.ready(1)
    assert arrived.wait(10)
    raw.close()
    assert json.loads(found[0]).keys() == {"id", "action", "published_at", "body"}


@pytest.mark.django_db
def test_heartbeats_are_answered_while_a_handler_runs(
    channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEARTBEAT_SECONDS", 1.0)
    worker = Recorder()
    worker.topic, worker.channel = channels.topic, "one"  # type: ignore[misc]
    channels.transport.subscribe(channels.topic, "one")

    def act(message: Message) -> None:
        time.sleep(4)  # as long as the work takes: nsqd cuts a client off that is silent for two

    worker.act = act
    [sent] = channels.publish({})
    Runner(worker, channels.consumer(timeout=30), timeout=30).run(until_idle=0.5)
    assert [one.id for one in worker.seen] == [sent]
    stands(channels, lag=0)
    take_nothing(channels.consumer(), 0.3)


def test_a_silent_nsqd_is_noticed(channels: Channels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEARTBEAT_SECONDS", 60.0)
    monkeypatch.setattr(connections, "SILENT_SECONDS", 0.5)
    [address] = channels.transport.at.tcp  # type: ignore[attr-defined]
    silent = Connection(address, channels.topic, "one", timeout=5, deliver=lambda of, frame: None)
    wait_until(lambda: not silent.is_open, seconds=10, what="it is given up")


def test_nsqd_that_is_restarted_goes_on(redis: Any, server: NsqServer, topic: str) -> None:
    channels = Channels(Nsq(server.url), topic)
    consumer = channels.consumer(timeout=30)  # however slow this machine is
    sent = channels.numbered(10)
    taken = take(consumer, 4)
    consumer.finish(taken)
    stands(channels, lag=6)
    server.stop()
    with pytest.raises(EventsUnavailable, match="does not answer"):
        channels.publish({})
    with pytest.raises(EventsUnavailable, match="none can be reached"):
        consumer.take(1, 2)
    server.start()
    wait_until(lambda: bool(consumer._open()), seconds=20, what="it is connected again")  # type: ignore[attr-defined]
    rest = take(consumer, 6)
    assert sorted(ids([*taken, *rest])) == sorted(sent)
    consumer.finish(rest)
    stands(channels, lag=0)
    channels.close()


def test_several_nsqd_through_nsqlookupd(
    redis: Any, server: NsqServer, second: NsqServer, tmp_path: Path, topic: str
) -> None:
    with NsqServer.at(tmp_path, knows=[server.tcp, second.tcp]) as lookupd:
        url = f"nsq+lookupd://127.0.0.1:{lookupd.http}?http=127.0.0.1:{server.http},127.0.0.1:{second.http}"
        channels = Channels(Nsq(url), topic)
        channels.transport.subscribe(topic, "one")
        sent = [id_ for n in range(20) for id_ in channels.publish({"n": n})]
        assert all(
            [one.depth for one in Nsq(of.url).channels() if one.topic == topic] == [10]
            for of in (server, second)
        ), "each got its share"
        stands(channels, depth=20)
        consumer = channels.consumer()
        taken = take(consumer, 20)
        assert sorted(ids(taken)) == sorted(sent)
        consumer.finish(taken)
        stands(channels, lag=0)

        second.stop()
        sent = [id_ for n in range(6) for id_ in channels.publish({"n": n})]
        taken = take(consumer, 6)
        assert sorted(ids(taken)) == sorted(sent), "the one that is left takes all"
        consumer.finish(taken)
        channels.close()


def test_nobody_who_knows_the_topic_is_said(redis: Any, server: NsqServer, topic: str) -> None:
    url = f"nsq+lookupd://127.0.0.1:{free_port()}?http=127.0.0.1:{server.http}"
    consumer = Nsq(url).consumer(topic, "one", timeout=5)
    with pytest.raises(EventsUnavailable, match=f"No nsqd has topic {topic}"):
        consumer.take(1, 0.5)
    consumer.close()


def test_a_delay_that_nsqd_does_not_take_is_refused_before(
    redis: Any, nsqd: str, topic: str, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_TOPICS": {topic: nsqd}}
    with pytest.raises(BadEvent, match="delay: must be between 0 and 3,600 seconds"):
        publish(topic, "a", {}, delay=3_601)


@pytest.mark.django_db(transaction=True)
def test_a_topic_of_its_own_transport(channels: Channels, nsqd: str, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_TOPICS": {channels.topic: nsqd}}
    consumer = channels.consumer()
    sent = publish(channels.topic, "a", {"n": 1})
    assert ids(take(consumer, 1)) == [sent]


def test_what_is_for_one_channel_is_not_seen_by_others(channels: Channels) -> None:
    one, other = channels.consumer("one"), channels.consumer("other")
    [sent] = channels.publish({})
    other.finish(take(other, 1))
    [taken] = take(one, 1)
    one.requeue(taken, 0.2, count_attempt=False)
    again = take(one, 1)
    assert (ids(again), again[0].attempts) == ([sent], 1)
    one.finish(again)
    take_nothing(other, 0.5)
    stands(channels, "other", lag=0)


def test_a_channel_that_comes_later_begins_with_now_and_says_so(
    channels: Channels, caplog: pytest.LogCaptureFixture
) -> None:
    channels.transport.subscribe(channels.topic, "early")
    channels.numbered(2)
    assert channels.transport.subscribe(channels.topic, "one", from_beginning=True)
    assert "nsqd keeps nothing for a topic's second channel" in caplog.text
    take_nothing(channels.consumer())


def test_a_port_that_is_not_nsqds_is_told(redis: Any, server: NsqServer, tmp_path: Path, topic: str) -> None:
    with (
        NsqServer.at(tmp_path, knows=[server.tcp]) as lookupd,
        pytest.raises(EventsRefused, match="knows no"),
    ):
        Nsq(f"nsq://127.0.0.1:{server.tcp}?http={lookupd.http}").publish(
            topic, [Outgoing.new(topic, "a", {})]
        )


def test_one_nsqd_that_is_away_keeps_nobody_from_working(
    redis: Any, server: NsqServer, second: NsqServer, topic: str
) -> None:
    second.stop()
    both = f"nsq://127.0.0.1:{server.tcp},127.0.0.1:{second.tcp}?http={server.http},{second.http}"
    channels = Channels(Nsq(both), topic)
    consumer = channels.consumer()
    sent = [id_ for n in range(4) for id_ in channels.publish({"n": n})]
    taken = take(consumer, 4)
    assert sorted(ids(taken)) == sorted(sent)
    consumer.finish(taken)
    stands(channels, lag=0)
    channels.close()


def test_names_that_nsqd_refuses_are_told(redis: Any, nsqd: str) -> None:
    with pytest.raises(EventsRefused, match="INVALID_TOPIC"):
        Nsq(nsqd).publish("no topic", [Outgoing.new("fine", "a", {})])


def test_everything_is_taken_while_consumers_come_and_go(channels: Channels) -> None:
    channels.transport.subscribe(channels.topic, "one")
    sent = channels.numbered(500)
    seen: list[str] = []
    for _ in range(5):
        consumer = channels.transport.consumer(channels.topic, "one", timeout=1)
        taken = take(consumer, 60)
        consumer.finish(taken)
        seen += ids(taken)
        consumer.close()
    rest = take_all(channels.consumer(timeout=30), 2.0)
    assert {one.attempts for one in rest} == {1}, (
        "a worker that leaves gives back what it has not taken, uncounted"
    )
    assert sorted(seen + ids(rest)) == sorted(sent)
