"""Fail-over on a cluster of three primaries with a replica each: what a node has acknowledged and lost."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.utils import timezone

from devtools.cluster import NODE_TIMEOUT, ClusterServers, client_of
from devtools.servers import RedisServer, wait_until
from mydjangoapp import graph, outbox
from mydjangoapp.connections.redis_client import breaker_of
from mydjangoapp.connections.redis_cluster import Cluster
from mydjangoapp.fanout import settling
from mydjangoapp.homefeed import feeds_redis, keys
from mydjangoapp.models import FanOut, PendingChange
from tests.checker import ALL_ONCE, fill, has_ended, outcome, state
from tests.clusters import fail_over, owner, replica_of, wait_until_replaced
from tests.ledger import Sent, carry, publish

# Run by `make test-cluster`: each waits for votes of a cluster of its own.
pytestmark = [pytest.mark.usefixtures("transactional_db"), pytest.mark.timeout(120), pytest.mark.slow]
FOLLOWERS = 300


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterServers]:
    """A cluster of the test's own: what has failed over stays so."""
    with ClusterServers(tmp_path_factory.mktemp("cluster"), replicas=1) as running:
        yield running


@pytest.fixture(autouse=True)
def redis(servers: ClusterServers, settings: Any) -> Any:
    settings.MYDJANGOAPP = {
        **settings.MYDJANGOAPP,
        "REDIS_URL": servers.url(),
        "EVENTS_URL": "off",
        "REDIS_TIMEOUT": 0.3,
        "SETTLE_SECONDS": 0.001,
    }
    breaker_of.cache_clear()
    return feeds_redis.client()


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
    others = [client_of(server) for server in servers.servers if server is not replica]
    for other in others:  # however slow this machine is, the replica must not pass for failed meanwhile
        other.config_set("cluster-node-timeout", 60_000)
    replica.signal(signal.SIGSTOP)
    try:
        # Or it would find them in its socket's buffer later.
        client_of(primary).execute_command("CLIENT KILL", "TYPE", "replica")
        writes()
        primary.kill()
    finally:
        replica.signal(signal.SIGCONT)
    for server in servers.servers:
        if server.running:
            client_of(server).config_set("cluster-node-timeout", NODE_TIMEOUT)
    wait_until_replaced(servers, primary, replica)
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


@pytest.mark.parametrize("which", ["a feed's node", "the author's node"])
def test_pushes_that_a_fail_over_lost_are_made_up_for(
    servers: ClusterServers, author: Any, which: str, redis: Any
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

    lose_last_writes(servers, failing, deliver)
    assert outcome(photo, users).lost > FOLLOWERS // 10, "acknowledged, and gone"
    if which == "the author's node":
        assert not has_ended(photo), "its end has gone, too"
        FanOut.objects.update(heartbeat_at=timezone.now())  # as the rescue does that sends it again
    else:
        settle_until(lambda: bool(sent), sent)
        assert sent == [(photo, author.pk, 0)]
        assert not redis.exists(keys.ended())
    carry(photo, author)
    assert outcome(photo, [*users, author.pk]) == ALL_ONCE
    settle_until(lambda: state(photo) == "done", again := Sent())
    assert not again, "once is enough"
    row = FanOut.objects.get(photo_id=photo)
    assert (row.reached, row.total) == (FOLLOWERS, FOLLOWERS)


def other_node(servers: ClusterServers, author_node: RedisServer) -> RedisServer:
    """A node of feeds that has nothing that all fan-outs share."""
    ports = {author_node.port, owner(servers, keys.ended()).port}
    return next(server for server in servers.primaries if server.port not in ports)


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


def catch_up() -> int:
    breaker_of.cache_clear()
    return outbox.catch_up()
