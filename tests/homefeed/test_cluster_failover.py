"""Fail-over on a cluster of three primaries with a replica each: what a node has acknowledged and lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from redis.exceptions import ClusterDownError, ReadOnlyError

from devtools.cluster import NODE_TIMEOUT, ClusterServers, client_of
from devtools.cluster_bus import ClusterBus
from devtools.servers import RedisServer, wait_until
from mydjangoapp import graph, outbox
from mydjangoapp.connections.hash_tags import slot_of
from mydjangoapp.connections.patience import Budget
from mydjangoapp.connections.redis_client import breaker_of
from mydjangoapp.connections.redis_cluster import Cluster
from mydjangoapp.events import publishing
from mydjangoapp.events import registry as events_registry
from mydjangoapp.events.redis_streams import keys as events_keys
from mydjangoapp.exceptions import EventsUnavailable
from mydjangoapp.fanout import settling
from mydjangoapp.homefeed import delivery, feeds_redis, keys, losses, rebuild
from mydjangoapp.homefeed import reader as feed_reader
from mydjangoapp.homefeed.delivery import Beginning, Message, Status
from mydjangoapp.homefeed.delivery import cluster as engine
from mydjangoapp.homefeed.delivery.cluster import Batch
from mydjangoapp.homefeed.delivery.ended import set_of
from mydjangoapp.models import FanOut, NodeHistory, PendingChange, Publication
from tests.checker import ALL_ONCE, Orders, fill, has_ended, outcome, state
from tests.clusters import (
    cut_off,
    fail_over,
    feeds_at,
    owner,
    replica_of,
    wait_patiently,
    wait_until_demoted,
    wait_until_replaced,
)
from tests.ledger import Sent, carry, publish

# Run by `make test-cluster`: each waits for votes of a cluster of its own.
pytestmark = [pytest.mark.usefixtures("transactional_db"), pytest.mark.timeout(120), pytest.mark.slow]
FOLLOWERS = 300


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterServers]:
    """A cluster of the test's own: what has failed over stays so."""
    directory = tmp_path_factory.mktemp("cluster")
    with ClusterBus() as bus, ClusterServers(directory, replicas=1, bus=bus) as running:
        yield running


@pytest.fixture(autouse=True)
def redis(servers: ClusterServers, settings: Any) -> Any:
    return feeds_at(settings, servers)


def cluster() -> Cluster:
    client = feeds_redis.client()
    assert isinstance(client, Cluster)
    return client


def settle_until(condition: Callable[[], bool], sent: Sent) -> None:
    """Settles over and over, as a worker does."""

    def settled() -> bool:
        breaker_of.cache_clear()
        settling.settle(sent, Sent())
        return condition()

    wait_until(settled, seconds=30, what="the fan-out is settled, or begins again")


def lose_last_writes(servers: ClusterServers, primary: RedisServer, writes: Callable[[], object]) -> None:
    """The primary acknowledges what `writes` does; then its replica, which has not got it, takes over."""
    replica = replica_of(servers, primary)
    wait_patiently(server for server in servers.servers if server is not replica)
    replica.signal(signal.SIGSTOP)
    try:
        # Or it would find them in its socket's buffer later.
        client_of(primary).execute_command("CLIENT KILL", "TYPE", "replica")
        writes()
        primary.kill()
    finally:
        replica.signal(signal.SIGCONT)
    wait_patiently((server for server in servers.servers if server.running), NODE_TIMEOUT)
    wait_until_replaced(servers, primary, replica)
    breaker_of.cache_clear()


def cut_off_while(servers: ClusterServers, primary: RedisServer, writes: Callable[[], object]) -> None:
    """The same, but the primary lives, is cut off from the others, and is demoted by its replica."""
    replica = replica_of(servers, primary)
    wait_patiently(servers.servers)
    with cut_off(servers, primary):
        writes()
        wait_patiently(servers.servers, NODE_TIMEOUT)
        wait_until_replaced(servers, primary, replica)
    wait_until_demoted(primary)
    breaker_of.cache_clear()


def test_a_life_ends_with_a_restart_and_a_fail_over(servers: ClusterServers) -> None:
    first = servers.primaries[0]
    before, digest = lives(), cluster().lives(now=True)
    assert "" not in before and len(set(before)) == 3
    assert (lives(), cluster().lives(now=True)) == (before, digest), "the same while nothing happens"
    first.kill()
    first.start()
    wait_until(lambda: "" not in lives(), seconds=10, what="it serves again")
    restarted = lives()
    assert len(set(restarted) - set(before)) == 1 and cluster().lives(now=True) != digest
    servers.wait_until_replicated()
    replica = replica_of(servers, first)
    for demoted, promoted in ((first, replica), (replica, first)):
        fail_over(servers, demoted, promoted)
    wait_until(lambda: "" not in lives(), seconds=10, what="all know that it is primary again")
    assert client_of(first).info("replication")["role"] == "master", "the same process as before"
    assert len(set(lives()) - set(restarted)) == 1, "and another life"


def test_an_event_that_a_fail_over_has_taken_back_is_sent_again(
    servers: ClusterServers, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_URL": None}
    transport = events_registry.for_topic("photos")
    assert transport is not None
    consumer = transport.consumer("photos", "search", timeout=30)
    servers.wait_until_replicated()
    sent: list[str] = []

    def published() -> None:
        with transaction.atomic():
            sent.append(publishing.publish("photos", "photo.published", {"n": 1}))
        [receipt] = Publication.objects.values_list("receipt", flat=True)
        wait_until(
            lambda: transport.receipts_held_for("photos", [receipt]) == [0.0], seconds=10, what="it is held"
        )
        publishing.send_waiting()
        assert Publication.objects.count() == 1, "no replica has it"

    lose_last_writes(servers, owner(servers, events_keys.stream("photos")), published)
    Publication.objects.update(claimed_at=None)  # the process that sent it has died, too
    wait_until(lambda: sent_again() == 1, seconds=30, what="it is sent again")
    assert [one.id for one in consumer.take(10, 10)] == sent
    servers.wait_until_replicated()

    def is_forgotten() -> bool:
        sent_again()
        return not Publication.objects.exists()

    wait_until(is_forgotten, seconds=30, what="a replica has it")


def test_a_consumer_that_waits_goes_on_at_the_replica(servers: ClusterServers, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_URL": None, "REDIS_TIMEOUT": 3.0}
    transport = events_registry.for_topic("photos")
    assert transport is not None
    consumer = transport.consumer("photos", "search", timeout=30)
    servers.wait_until_replicated()
    primary = owner(servers, events_keys.stream("photos"))

    def taken() -> list[str]:
        found: list[str] = []
        while not found:
            with suppress(EventsUnavailable):
                found += [one.id for one in consumer.take(10, 1)]
        return found

    with ThreadPoolExecutor(1) as waiting:
        ids = waiting.submit(taken)
        blocked: Any = client_of(primary)
        wait_until(lambda: blocked.info("clients")["blocked_clients"] > 0, seconds=10, what="it waits")
        fail_over(servers, primary, replica_of(servers, primary))
        sent = publishing.publish("photos", "photo.published", {"n": 1})
        wait_until(lambda: sent_again() == 0 and ids.done(), seconds=30, what="it has come")
        assert ids.result() == [sent]


def sent_again() -> int:
    """How many rows of the events' outbox; none while a node is voted for."""
    with suppress(EventsUnavailable):
        return publishing.send_waiting()
    return 0


def lives() -> list[str]:
    """The lives of all primaries."""
    return list(cluster().each_life().values())


def test_a_primary_has_for_good_what_its_replica_has(servers: ClusterServers) -> None:
    wait_until(lambda: len(kept().safe) == 3, seconds=10, what="all replicas are in step")
    primary = servers.primaries[1]
    replica = replica_of(servers, primary)
    replica.signal(signal.SIGSTOP)
    try:
        for _ in range(3):
            seen = kept()
            assert seen.is_complete and len(seen.alive) == 3
            assert len(seen.safe) == 2, "it does not answer, and may take over as it is"
    finally:
        replica.signal(signal.SIGCONT)
    wait_until(lambda: len(kept().safe) == 3, seconds=10, what="the replica has caught up")
    primary.signal(signal.SIGSTOP)
    try:
        assert not kept().is_complete, "nobody knows what became of it"
    finally:
        primary.signal(signal.SIGCONT)


def kept() -> Any:
    breaker_of.cache_clear()
    seen = feeds_redis.kept()
    assert seen is not None
    return seen


@pytest.mark.parametrize("lose", [lose_last_writes, cut_off_while], ids=["killed", "cut off and demoted"])
@pytest.mark.parametrize("which", ["a feed's node", "the author's node"])
def test_pushes_that_a_fail_over_lost_are_made_up_for(
    servers: ClusterServers, author: Any, which: str, lose: Callable[..., None], redis: Any
) -> None:
    users = fill(author.pk, FOLLOWERS)
    photo = publish(author)
    authors_node = owner(servers, keys.followers(author.pk))
    failing = authors_node if which == "the author's node" else other_node(servers, authors_node)
    wait_until(lambda: len(kept().safe) == 3, seconds=10, what="all replicas are in step")
    sent = Sent()

    def deliver() -> None:
        carry(photo, author)
        assert has_ended(photo) and outcome(photo, [*users, author.pk]) == ALL_ONCE
        settling.settle(sent, Sent())
        assert state(photo) == "waiting", "not done before a replica has it"

    lose(servers, failing, deliver)
    assert outcome(photo, users).lost > FOLLOWERS // 10, "acknowledged, and gone"
    if which == "the author's node":
        assert not has_ended(photo), "its end has gone, too"
        FanOut.objects.update(heartbeat_at=timezone.now())  # as the rescue does that sends it again
    else:
        settle_until(lambda: bool(sent), sent)
        assert sent == [(photo, author.pk, 0)]
        assert not redis.exists(set_of(author.pk))
    carry(photo, author)
    assert outcome(photo, [*users, author.pk]) == ALL_ONCE
    settle_until(lambda: state(photo) == "done", again := Sent())
    assert not again, "once is enough"
    row = FanOut.objects.get(photo_id=photo)
    assert (row.reached, row.total) == (FOLLOWERS, FOLLOWERS)


@pytest.mark.parametrize("how", ["the replica's first", "the primary's first", "without looking"])
def test_two_primaries_at_once_grant_the_same_batch(
    servers: ClusterServers, settings: Any, author: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The primary is cut off, and goes on granting claims when its replica has taken its place."""
    monkeypatch.setattr(engine, "REPLICA_SECONDS", 2)  # also on a slow machine
    some_at_a_time = {"BATCH_SIZE": 100, "REDIS_TIMEOUT": 4}
    feeds_at(settings, servers, **some_at_a_time)
    users = fill(author.pk, FOLLOWERS)
    photo = publish(author)
    primary = owner(servers, keys.followers(author.pk))
    replica = replica_of(servers, primary)
    begun = delivery.begin(Message(photo, author.pk), Beginning())
    assert isinstance(begun, Batch) and not begun.is_guarded, "the replica has its claim"
    delivery.serve(begun, Orders())
    next_one = Message(photo, author.pk, 100)

    def claim_from(server: RedisServer) -> Batch:
        # By somebody whom only this one has told where slots are.
        only_it = f"redis+cluster://127.0.0.1:{server.port}/"
        feeds_at(settings, servers, **some_at_a_time, REDIS_URL=only_it)
        batch = delivery.claim(next_one)
        assert isinstance(batch, Batch)
        assert (batch.verdict, batch.start, batch.is_guarded) == ("next", 100, True)
        return batch

    def by_the_replica() -> None:
        delivery.serve(claim_from(replica), Orders())

    def by_the_primary() -> None:
        batch = claim_from(primary)
        naive = replace(batch, is_guarded=False, void_at=time.monotonic() + 60)
        delivery.serve(naive if how == "without looking" else batch, Orders())

    wait_patiently(servers.servers)
    with cut_off(servers, primary):
        wait_patiently((server for server in servers.servers if server is not primary), NODE_TIMEOUT)
        wait_until_replaced(servers, primary, replica)
        each = by_the_replica, by_the_primary
        for claim in reversed(each) if how == "the primary's first" else each:
            claim()
        feeds_at(settings, servers)
        found = outcome(photo, users[100:200])
    assert found.lost == 0
    assert bool(found.doubled) == (how == "without looking")


def test_pushes_to_a_primary_that_was_demoted_go_to_its_replica(
    servers: ClusterServers, author: Any, caplog: pytest.LogCaptureFixture
) -> None:
    users = fill(author.pk, FOLLOWERS)
    photo = publish(author)
    demoted = other_node(servers, owner(servers, keys.followers(author.pk)))
    batch = delivery.begin(Message(photo, author.pk), Beginning(guard=True))
    fail_over(servers, demoted, replica_of(servers, demoted))
    with pytest.raises(ReadOnlyError):
        client_of(demoted).execute_command("EVAL", "#!lua\nreturn redis.call('SET', 'a', 1)", 0)
    served = delivery.serve(batch, Orders())
    assert served.status is Status.ENDED
    assert "read only replica" in caplog.text, "it has heard of that by the first push"
    assert outcome(photo, [*users, author.pk]) == ALL_ONCE


def test_a_primary_that_knows_that_it_is_cut_off_takes_nothing(
    servers: ClusterServers, settings: Any, author: Any
) -> None:
    """What was to go there goes to its replica, at the same call."""
    feeds_at(settings, servers, BATCH_SIZE=100)
    users = fill(author.pk, FOLLOWERS)
    photo = publish(author)
    primary = owner(servers, keys.followers(author.pk))
    replica = replica_of(servers, primary)
    delivery.serve(delivery.begin(Message(photo, author.pk), Beginning()), Orders())
    with cut_off(servers, primary):
        wait_until_replaced(servers, primary, replica)
        wait_until(lambda: takes_nothing(primary), seconds=30, what="it knows that it is cut off")
        with pytest.raises(ClusterDownError):
            client_of(primary).hset(keys.fanout(author.pk, photo), "a", "1")
        assert cluster().topology.owner(slot_of(keys.followers(author.pk))).port == primary.port, (
            "not asked yet"
        )
        delivery.serve(delivery.claim(Message(photo, author.pk, 100)), Orders())
        delivery.serve(delivery.claim(Message(photo, author.pk, 200)), Orders())
        assert client_of(replica).hexists(keys.fanout(author.pk, photo), "ended")
        assert outcome(photo, users[100:]) == ALL_ONCE


def takes_nothing(primary: RedisServer) -> bool:
    state: Any = client_of(primary).execute_command("CLUSTER INFO")
    return bool(state["cluster_state"] == "fail")


def other_node(servers: ClusterServers, author_node: RedisServer) -> RedisServer:
    """A node of feeds alone."""
    return next(server for server in servers.primaries if server.port != author_node.port)


def test_a_follow_that_a_fail_over_lost_is_applied_again(
    servers: ClusterServers, make_users: Callable[[int], list[Any]], redis: Any
) -> None:
    me, other, author = make_users(3)
    graph.follow(other, author)
    wait_until(lambda: len(kept().safe) == 3, seconds=10, what="all replicas are in step")
    fill(author.pk, 2)
    failing = owner(servers, keys.followers(author.pk))
    wait_until(is_caught_up, seconds=10, what="it settles")

    def follow() -> None:
        graph.follow(me, author)
        assert str(me.pk).encode() in redis.lrange(keys.followers(author.pk), 0, -1)
        assert catch_up() == 0
        assert PendingChange.objects.exists(), "not forgotten before a replica has it"

    lose_last_writes(servers, failing, follow)
    assert str(me.pk).encode() not in redis.lrange(keys.followers(author.pk), 0, -1), "acknowledged, and gone"
    wait_until(is_caught_up, seconds=20, what="it settles now")
    assert redis.lrange(keys.followers(author.pk), 0, -1).count(str(me.pk).encode()) == 1


def is_caught_up() -> bool:
    """Empties the outbox as far as that can be done now; whether all of it could."""
    catch_up()
    return not PendingChange.objects.exists()


def test_a_replica_with_old_data_has_its_feeds_built_anew(
    servers: ClusterServers, make_users: Callable[[int], list[Any]], redis: Any, settings: Any
) -> None:
    """Longer away than the cluster waits for it: what it lacks is done, and forgotten, by the time it is
    promoted."""
    author, *readers = make_users(25)
    for reader in readers:
        graph.follow(reader, author)
    by_hand = [900_000 + n for n in range(30)]
    for user in by_hand:
        redis.rpush(keys.followers(user), 1)
    first = publish(author)
    carry(first, author)
    failing = owner(servers, keys.followers(author.pk))
    there = [reader for reader in readers if owner(servers, keys.homefeed(reader.pk)) is failing]
    elsewhere = [reader for reader in readers if reader not in there]
    assert there and elsewhere
    for reader in readers:
        assert rebuild.build(reader.pk)
        redis.set(keys.relations(reader.pk), "as they were")
    wait_until(lambda: has_confirmed_since(set()), seconds=20, what="each node's history is confirmed")
    replica = replica_of(servers, failing)
    replica.signal(signal.SIGSTOP)
    try:
        client_of(failing).execute_command("CLIENT KILL", "TYPE", "replica")
        wait_until(lambda: len(kept().safe) == 3, seconds=20, what="the others say that the replica failed")
        second = publish(author)
        carry(second, author)
        settle_until(lambda: state(second) == "done", Sent())
        since = written()
        wait_until(lambda: has_confirmed_since(since), seconds=20, what="that is confirmed, too")
        failing.kill()
    finally:
        replica.signal(signal.SIGCONT)
    wait_until_replaced(servers, failing, replica)
    breaker_of.cache_clear()
    assert outcome(second, [reader.pk for reader in there]).lost == len(there), "it was done, and is gone"
    assert all(redis.exists(keys.floor(reader.pk)) for reader in readers), "and nobody would notice"
    wait_until(lambda: watched() and lost().exists(), seconds=20, what="the loss is noticed")
    assert lost().count() == 1
    voided = losses.make_up_for()
    assert voided > len(there) and not lost().exists()
    for key_of in (keys.floor, keys.relations):
        assert not any(redis.exists(key_of(reader.pk)) for reader in there)
    assert all(redis.exists(keys.floor(reader.pk)) for reader in elsewhere), "other nodes have lost nothing"
    assert not redis.exists(keys.followers(author.pk)), "made anew from SQL with the next photo"
    assert all(redis.exists(keys.followers(user)) for user in by_hand), "SQL knows nothing of these"
    for reader in there:
        seen = [entry.photo.id for entry in feed_reader.older(reader.pk, limit=5).entries]
        assert seen == [second, first]
    third = publish(author)
    carry(third, author)
    assert outcome(third, [reader.pk for reader in readers]) == ALL_ONCE
    assert watched() and not lost().exists(), "noticed once"
    since = written()
    wait_until(lambda: has_confirmed_since(since), seconds=20, what="it is watched as before")


def test_feeds_of_a_node_are_voided_in_steps(
    servers: ClusterServers, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And from the beginning, if another server takes the node's place meanwhile."""
    monkeypatch.setattr(losses, "KEYS_AT_ONCE", 10)
    monkeypatch.setattr(losses, "KEYS_PER_CALL", 20)
    users = range(600)
    pipeline = redis.pipeline(transaction=False)
    for user in users:
        pipeline.set(keys.floor(user), 1)
        pipeline.rpush(keys.homefeed(user), 1)
    pipeline.execute()
    wait_until(lambda: has_confirmed_since(set()), seconds=20, what="each node's history is confirmed")
    row = NodeHistory.objects.order_by("slot")[0]
    topology = cluster().topology
    there = [user for user in users if topology.owner(slot_of(keys.floor(user))) == topology.owner(row.slot)]
    elsewhere = set(users) - set(there)
    NodeHistory.objects.filter(pk=row.pk).update(lost_at=timezone.now())
    assert 0 < losses.make_up_for(Budget(60)) < len(there), "not all at once"
    row.refresh_from_db()
    assert row.lost_at and row.position != "0" and row.life in lives()
    NodeHistory.objects.filter(pk=row.pk).update(life="another", position="7")
    while lost().exists():
        losses.make_up_for(Budget(60))
    assert redis.exists(*map(keys.floor, there)) == 0
    assert redis.exists(*map(keys.floor, elsewhere)) == len(elsewhere), "of other nodes nothing"
    assert redis.exists(*map(keys.homefeed, users)) == len(users), "the lists themselves stay"


def watched() -> bool:
    """Watches, with every node asked."""
    breaker_of.cache_clear()
    losses.watch()
    return True


def written() -> set[str]:
    """The texts that SQL knows to be on any node."""
    return {text for row in NodeHistory.objects.all() for text in (row.confirmed, row.pending)}


def has_confirmed_since(before: set[str]) -> bool:
    """Watches; whether a text that was written after these is confirmed of each node."""
    watched()
    confirmed = NodeHistory.objects.exclude(confirmed="").values_list("confirmed", flat=True)
    return len(confirmed) == 3 and before.isdisjoint(confirmed)


def lost() -> Any:
    return NodeHistory.objects.exclude(lost_at=None)


def catch_up() -> int:
    breaker_of.cache_clear()
    return outbox.catch_up()
