"""A node of a cluster is away, whichever it is: what lives on the others goes on, to its end in SQL."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from devtools.cluster import ClusterServers
from devtools.servers import RedisServer, wait_until
from mydjangoapp import graph, outbox
from mydjangoapp.connections.hash_tags import SLOTS, slot_of
from mydjangoapp.events import publish as publish_event
from mydjangoapp.events.redis_streams import keys as events_keys
from mydjangoapp.events.registry import for_topic
from mydjangoapp.exceptions import FeedsUnavailable
from mydjangoapp.fanout import rescue, settling
from mydjangoapp.homefeed import followers, keys, snapshot, turns
from mydjangoapp.homefeed import reader as feed_reader
from mydjangoapp.homefeed.delivery.ended import SLOTS_OF_A_SET, set_of
from mydjangoapp.models import FanOut, PendingChange
from tests.checker import ALL_ONCE, outcome, state
from tests.clusters import feeds_at, go_on, owner
from tests.feeds import truth_of
from tests.ledger import Sent, carry, publish

pytestmark = [pytest.mark.usefixtures("transactional_db"), pytest.mark.timeout(120), pytest.mark.slow]
WHICH = range(3)
EACH = -(-SLOTS // 3)  # slots of a node
LEASE = 1.0


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterServers]:
    with ClusterServers(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(autouse=True)
def redis(servers: ClusterServers, settings: Any) -> Any:
    client = feeds_at(settings, servers, LEASE_SECONDS=LEASE)
    client.flushall()
    return client


@pytest.fixture(params=WHICH)
def away(request: pytest.FixtureRequest, servers: ClusterServers) -> Iterator[RedisServer]:
    """A node that a test stops, each in turn."""
    server = servers.primaries[request.param]
    yield server
    go_on(servers, server)


def parted(servers: ClusterServers, people: list[Any], node: RedisServer) -> tuple[list[Any], list[Any]]:
    """People with anything on this node, and the others."""
    makes = (keys.homefeed, keys.followers)
    there = [one for one in people if any(owner(servers, make(one.pk)) is node for make in makes)]
    return there, [one for one in people if one not in there]


def test_fan_outs_of_others_are_carried_and_settled(
    servers: ClusterServers, away: RedisServer, make_users: Callable[[int], list[Any]]
) -> None:
    _, (author, *fans) = parted(servers, make_users(20), away)
    for fan in fans:
        graph.follow(fan, author)
    away.signal(signal.SIGSTOP)
    photo = publish(author)
    carry(photo, author)
    assert outcome(photo, [fan.pk for fan in (*fans, author)]) == ALL_ONCE

    def is_done() -> bool:
        settling.settle(Sent(), Sent())
        return state(photo) == "done"

    wait_until(is_done, seconds=20, what="it is settled")


@pytest.mark.usefixtures("redis_server")  # for the cache
def test_readers_get_all_that_is_true_from_lists_or_from_sql(
    servers: ClusterServers, away: RedisServer, make_users: Callable[[int], list[Any]]
) -> None:
    author, *fans = make_users(20)
    for fan in fans:
        graph.follow(fan, author)
    photos = [publish(author), publish(author)]
    for photo in photos:
        carry(photo, author)
    for fan in fans:
        feed_reader.older(fan.pk, limit=10)  # has its list and floor now
    theirs = [fan for fan in fans if owner(servers, keys.homefeed(fan.pk)) is away]
    away.signal(signal.SIGSTOP)
    late = [publish(author)]
    for fan in fans:
        page = feed_reader.older(fan.pk, limit=10)
        assert [entry.photo.id for entry in page.entries] == (
            truth_of(fan) if fan in theirs else photos[::-1]  # the last is on its way
        )
    assert truth_of(fans[0]) == [*late, *photos[::-1]]
    with pytest.raises(FeedsUnavailable):
        snapshot.read(theirs[0].pk)
    others = [fan for fan in fans if fan not in theirs]
    assert all(snapshot.read(fan.pk).floor is not None for fan in others), "from their lists as ever"


def test_a_lost_message_of_others_is_sent_again(
    servers: ClusterServers, away: RedisServer, make_users: Callable[[int], list[Any]]
) -> None:
    _, (author, *_) = parted(servers, make_users(20), away)
    away.signal(signal.SIGSTOP)
    photo = publish(author)
    FanOut.objects.update(created_at=timezone.now() - timedelta(seconds=60 * LEASE))
    assert rescue.rescue(sent := Sent()).enqueued == 1
    assert sent == [(photo, author.pk, 0)]


def test_an_end_that_cannot_be_noted_does_not_stop_the_rescue(
    servers: ClusterServers, redis: Any, make_users: Callable[[int], list[Any]]
) -> None:
    """The set in which it is noted is on another node than its author: slots of the same set part there."""
    border = next(n * EACH for n in (1, 2) if n * EACH % SLOTS_OF_A_SET)  # the first slot of another node
    of_the_set = range(border, border + SLOTS_OF_A_SET - border % SLOTS_OF_A_SET)
    pk = next(pk for pk in count(1_000) if slot_of(keys.followers(pk)) in of_the_set)
    author = get_user_model().objects.create(pk=pk, username="on the border")
    [other] = make_users(1)
    node = owner(servers, set_of(author.pk))
    assert node is not owner(servers, keys.followers(author.pk))
    try:
        photo = publish(author)
        node.signal(signal.SIGSTOP)
        carry(photo, author)
        lost = publish(other)
        FanOut.objects.update(created_at=timezone.now() - timedelta(seconds=60 * LEASE))
        redis.hincrbyfloat(keys.fanout(author.pk, photo), "beat", -60 * LEASE)
        rescue.rescue(sent := Sent())
        assert (lost, other.pk, 0) in sent
    finally:
        go_on(servers, node)


def test_changes_of_others_are_brought_in(
    servers: ClusterServers,
    away: RedisServer,
    make_users: Callable[[int], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    redis: Any,
) -> None:
    theirs, (author, fan, *_) = parted(servers, make_users(20), away)
    unreached = next(one for one in theirs if owner(servers, keys.followers(one.pk)) is away)

    def die(*_: object) -> None:
        raise FeedsUnavailable("as if the process had died")

    with monkeypatch.context() as dying:
        dying.setattr(followers, "apply", die)
        graph.follow(fan, unreached)
        graph.follow(fan, author)
    redis.rpush(keys.followers(author.pk), "1")
    PendingChange.objects.update(created_at=timezone.now() - timedelta(seconds=60))
    away.signal(signal.SIGSTOP)
    outbox.catch_up()
    assert redis.lrange(keys.followers(author.pk), 0, -1) == [b"1", str(fan.pk).encode()]
    assert PendingChange.objects.count() == 2, "neither is forgotten while a node is away"
    go_on(servers, away)

    def are_forgotten() -> bool:
        outbox.catch_up()
        return not PendingChange.objects.exists()

    wait_until(are_forgotten, seconds=20, what="both are brought in")
    assert followers.ensure(unreached.pk)
    assert redis.lrange(keys.followers(unreached.pk), 0, -1) == [str(fan.pk).encode()]


def test_a_consumer_begins_without_the_list_of_topics(servers: ClusterServers, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_URL": None}
    node = owner(servers, events_keys.topics())
    topic = next(name for name in map("topic-{}".format, count()) if is_elsewhere(servers, name, node))
    transport = for_topic(topic)
    assert transport is not None
    node.signal(signal.SIGSTOP)
    try:
        consumer = transport.consumer(topic, "search", timeout=30)
        sent = publish_event(topic, "tested", {"n": 1})
        assert [one.id for one in consumer.take(10, 5)] == [sent]
    finally:
        go_on(servers, node)


def is_elsewhere(servers: ClusterServers, topic: str, node: RedisServer) -> bool:
    return owner(servers, events_keys.stream(topic)) is not node


def test_turns_are_taken_in_each_process(servers: ClusterServers, away: RedisServer) -> None:
    turn = next(f"turn-{n}" for n in range(100) if owner(servers, f"turn-{n}") is away)
    away.signal(signal.SIGSTOP)
    assert [turns.begin(turn, 60), turns.begin(turn, 60)] == [True, False]
    with turns.held(f"{turn}:{{{turn}}}", 60) as got, turns.held(f"{turn}:{{{turn}}}", 60) as other:
        assert (got, other) == (True, False)
    with turns.held(f"{turn}:{{{turn}}}", 60) as got:
        assert got, "and given back"
    with pytest.raises(FeedsUnavailable), turns.held(turn, 60, strictly=True):
        pass
