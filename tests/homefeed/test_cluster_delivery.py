"""The engine of a cluster on three real nodes, a step at a time: what no worker could be timed to show."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtools.cluster import ClusterServers, client_of
from devtools.servers import RedisServer, wait_until
from mydjangoapp.connections.hash_tags import SLOTS
from mydjangoapp.connections.redis_client import breaker_of
from mydjangoapp.exceptions import FeedsRefused, FeedsUnavailable
from mydjangoapp.homefeed import delivery, feeds_redis, keys, scripts
from mydjangoapp.homefeed.delivery import Beginning, Message, Status, Verdict, cluster
from mydjangoapp.homefeed.delivery.ended import set_of
from mydjangoapp.homefeed.delivery.leftovers import Leftover
from mydjangoapp.homefeed.delivery.pushing import Pushes
from tests.checker import ALL_ONCE, Orders, counters, fill, outcome
from tests.clusters import begin_to_move, feeds_at, go_on, is_loading, loading, move_slot, owner

AUTHOR = 7
FENCE = 1.5  # seconds


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterServers]:
    with ClusterServers(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(autouse=True)
def redis(servers: ClusterServers, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    client = feeds_at(settings, servers, BATCH_SIZE=10, MAX_LENGTH=20)
    monkeypatch.setattr(cluster, "FENCE_SECONDS", FENCE)
    monkeypatch.setattr(import_module("mydjangoapp.homefeed.delivery.counters"), "FENCE_SECONDS", FENCE)
    client.flushall()
    return client


def claim(photo: int, cursor: int = 0, *, redelivered: bool = False, guard: bool = False) -> Any:
    message = Message(photo, AUTHOR, cursor, redelivered)
    if cursor or redelivered:
        return delivery.claim(message)
    return delivery.begin(message, Beginning(guard=guard, without_followers=True))


def carry_all(photo: int, **how: bool) -> list[int]:
    """Carries a photo from its beginning, link by link; returns the links."""
    links = Orders()
    served = delivery.serve(claim(photo, **how), links)
    carried = 0
    while carried < len(links):
        served = delivery.serve(claim(photo, links[carried]), links)
        carried += 1
    assert served.status is Status.ENDED
    return links


def naive(batch: Any) -> Any:
    """The same batch in the hands of somebody who knows no fence."""
    return replace(batch, is_guarded=False, wait=0.0, void_at=time.monotonic() + 60)


def test_everybody_gets_it_once_and_the_end_is_noted(redis: Any) -> None:
    users = fill(AUTHOR, 57)
    assert carry_all(1) == [10, 20, 30, 40, 50]
    assert outcome(1, [*users, AUTHOR]) == ALL_ONCE
    seen = counters(1, AUTHOR)
    assert seen is not None and seen.ended is not None
    assert (seen.reached, seen.total, seen.cursor) == (57, 57, 57)
    assert redis.zrange(set_of(AUTHOR), 0, -1) == [b"1:7"]
    assert not redis.exists(keys.running(AUTHOR))
    assert claim(1, 50).verdict is Verdict.ENDED


def test_an_author_without_followers_gets_their_own_photo(redis: Any) -> None:
    assert carry_all(1) == []
    assert redis.lrange(keys.homefeed(AUTHOR), 0, -1) == [b"1"]


def test_two_batches_are_under_way_at_once_and_the_last_one_ends_the_chain(settings: Any) -> None:
    users = fill(AUTHOR, 35)
    first = claim(1)
    assert (first.verdict, first.start, first.stop, first.link) == (Verdict.START, 0, 10, 10)
    second = claim(1, 10)
    assert (second.verdict, second.start, second.link) == (Verdict.NEXT, 10, -1), "no third one yet"
    assert [claim(1, 10).verdict, claim(1, 0).verdict, claim(1, 30).verdict] == [Verdict.DUPLICATE] * 3
    links = Orders()
    assert delivery.serve(second, links).status is Status.OVER
    assert links == [20]
    third = claim(1, 20)
    assert (third.verdict, third.link) == (Verdict.NEXT, -1)
    assert delivery.serve(first, links).status is Status.OVER
    assert links == [20, 10, 30], "one that was claimed orders its link first"
    assert delivery.serve(third, links).status is Status.OVER
    assert delivery.serve(claim(1, 30), links).status is Status.ENDED
    assert outcome(1, users) == ALL_ONCE


def test_a_batch_is_taken_over_by_its_own_message_and_the_first_claim_is_lost(redis: Any) -> None:
    users = fill(AUTHOR, 10)
    dead = claim(1)
    again = claim(1, redelivered=True)
    assert (again.verdict, again.start, again.is_guarded) == (Verdict.TAKEOVER, 0, True)
    assert 0 < again.wait <= FENCE
    assert delivery.serve(dead, Orders()).status is Status.OVER, "it is alive after all: pushed, not counted"
    assert redis.hget(keys.fanout(AUTHOR, 1), "reached") == b"0"
    assert delivery.serve(again, Orders()).status is Status.ENDED
    assert outcome(1, users) == ALL_ONCE
    assert redis.hget(keys.fanout(AUTHOR, 1), "reached") == b"10"


def test_takeovers_of_a_chain_that_is_full_order_nothing_more() -> None:
    """While a node is away each of them would multiply otherwise."""
    fill(AUTHOR, 55)
    claim(1)
    claim(1, 10)
    for cursor in (0, 10, 0, 10):
        again = claim(1, cursor, redelivered=True)
        assert (again.verdict, again.start, again.link) == (Verdict.TAKEOVER, cursor, -1)


def test_whoever_begins_anew_waits_for_claims_that_the_hash_no_longer_shows(redis: Any) -> None:
    fill(AUTHOR, 25)
    claim(1)
    redis.hset(keys.state(AUTHOR), "generation", "another")  # the list was rebuilt
    anew = claim(1, 0)
    assert (anew.verdict, anew.is_guarded, anew.wait) == (Verdict.START, True, FENCE)
    redis.hset(keys.fanout(AUTHOR, 1), "run", "another")  # a fail-over
    after = claim(1, 10)
    assert (after.verdict, after.is_guarded) == (Verdict.NEXT, True)
    assert 0 < after.wait <= FENCE
    redis.delete(keys.fanout(AUTHOR, 1))  # a crash, and a link that was ordered before it
    from_its_link: Any = delivery.begin(Message(1, AUTHOR, 10), Beginning(guard=True))
    assert (from_its_link.verdict, from_its_link.is_guarded) == (Verdict.START, True)
    assert (from_its_link.start, from_its_link.wait) == (0, FENCE)
    assert claim(1, 10).wait > 0, "and so does the batch behind it"


def test_two_who_know_no_fence_push_twice() -> None:
    users = fill(AUTHOR, 10)
    dead = claim(1)
    again = claim(1, redelivered=True)
    delivery.serve(naive(dead), Orders())
    delivery.serve(naive(again), Orders())
    assert outcome(1, users).doubled == 10, "or the test above shows nothing"


def test_a_push_after_its_deadline_does_nothing(redis: Any, servers: ClusterServers) -> None:
    node = client_of(owner(servers, keys.homefeed(1)))
    seconds, microseconds = node.time()
    now = seconds + microseconds / 1e6
    for deadline, expected in ((now - 0.001, 1), (now + 60, 0)):
        words = [*keys.homefeed_words(), 20, 2, 0, 0]
        _, by_text = scripts.push_many.commands(redis, [], [5, *words, f"{deadline:.6f}", "1"])
        is_late, *_ = node.execute_command(*by_text)
        assert is_late == expected
        assert redis.llen(keys.homefeed(1)) == 1 - expected


@pytest.mark.parametrize("is_behind", [False, True], ids=["before the fence", "behind it"])
def test_a_call_that_sleeps_in_a_stopped_node_wakes(
    redis: Any, servers: ClusterServers, stopped: RedisServer, is_behind: bool
) -> None:
    """Its worker is gone, another takes over: it waits, and looks."""
    users = fill(AUTHOR, 10)
    dead = claim(1)
    names = [str(user).encode() for user in users]
    Pushes(2).push(names, void_at=dead.void_at)  # the nodes' clocks are known
    theirs, _ = parted(users, servers, stopped)
    stopped.signal(signal.SIGSTOP)
    left = Pushes(1).push(names, void_at=dead.void_at)
    assert left.unsure == [str(user).encode() for user in theirs], "nobody knows what became of it"
    again = claim(1, redelivered=True)
    if is_behind:
        with pytest.raises(FeedsUnavailable):
            delivery.serve(again, Orders())
        assert time.monotonic() > dead.void_at
        go_on(servers, stopped)
        again = retried(0)
    else:
        go_on(servers, stopped)
    assert delivery.serve(again, Orders()).status is Status.ENDED
    assert outcome(1, users) == ALL_ONCE


def test_a_node_that_loads_its_data_gets_its_pushes_later(
    redis: Any, servers: ClusterServers, stopped: RedisServer
) -> None:
    users = fill(AUTHOR, 10)
    theirs, others = parted(users, servers, stopped)
    batch = claim(1)
    with loading(stopped, keys.homefeed(theirs[0])):
        with pytest.raises(FeedsUnavailable):
            delivery.serve(batch, Orders())
        assert outcome(1, others) == ALL_ONCE
        assert is_loading(stopped), "all the while"
    go_on(servers, stopped)
    assert delivery.serve(retried(0), Orders()).status is Status.ENDED
    assert outcome(1, users) == ALL_ONCE


@pytest.fixture
def stopped(servers: ClusterServers, settings: Any) -> Iterator[RedisServer]:
    """A node that a test stops, with neither the author's list nor what all fan-outs share."""
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_ATTEMPTS": 2}
    shared = (owner(servers, keys.followers(AUTHOR)), owner(servers, keys.queue()))
    server = next(server for server in servers.primaries if server not in shared)
    yield server
    go_on(servers, server)


def carry_links(links: Orders) -> list[int]:
    """Carries these, and what they order, to their end; returns those that are to come again."""
    again = []
    while links:
        link = links.pop(0)
        try:
            delivery.serve(claim(1, link, redelivered=not link), links)
        except FeedsUnavailable:
            again.append(link)
    return again


def retried(link: int) -> Any:
    return delivery.begin(Message(1, AUTHOR, link, retried=True), Beginning())


def parted(users: Sequence[int], servers: ClusterServers, node: RedisServer) -> tuple[list[int], list[int]]:
    """Users whose feeds are on this node, and the others."""
    theirs = [user for user in users if owner(servers, keys.homefeed(user)) is node]
    return theirs, [user for user in users if user not in theirs]


def test_a_stopped_node_keeps_the_photo_from_its_own_feeds_only(
    redis: Any, servers: ClusterServers, stopped: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More batches than may be under way at once go past it, and one message is answerable for the rest."""
    monkeypatch.setattr(cluster, "READ_AT_ONCE", 4)
    users = fill(AUTHOR, 60)
    theirs, others = parted(users, servers, stopped)
    stopped.signal(signal.SIGSTOP)
    links = Orders()
    with pytest.raises(FeedsUnavailable, match="REDIS_URL"):
        delivery.serve(claim(1), links)
    assert carry_links(links) == []
    assert outcome(1, others) == ALL_ONCE
    seen = counters(1, AUTHOR)
    assert seen is not None
    assert (seen.ended, seen.cursor, seen.reached) == (None, 60, len(others))
    assert redis.zcard(keys.left(AUTHOR, 1)) == 6
    for _ in range(8):
        again = retried(0)
        assert again.verdict is Verdict.TAKEOVER, "it is not given up because a node is away"
        with pytest.raises(FeedsUnavailable):
            delivery.serve(again, Orders())
    left_first, *stayed = theirs
    redis.hset(keys.marks(AUTHOR), str(left_first), "60:1")  # has unfollowed meanwhile
    go_on(servers, stopped)
    delivery.serve(retried(0), links)
    assert carry_links(links) == []
    assert outcome(1, [*others, *stayed, AUTHOR], [left_first]) == ALL_ONCE
    seen = counters(1, AUTHOR)
    assert seen is not None and seen.ended is not None
    assert (seen.reached, seen.total) == (59, 59)
    assert not redis.exists(keys.left(AUTHOR, 1), keys.running(AUTHOR))


def test_what_is_left_over_is_taken_over_as_a_batch_is(
    redis: Any, servers: ClusterServers, stopped: RedisServer
) -> None:
    users = fill(AUTHOR, 10)
    theirs, _ = parted(users, servers, stopped)
    stopped.signal(signal.SIGSTOP)
    with pytest.raises(FeedsUnavailable):
        delivery.serve(claim(1), Orders())
    go_on(servers, stopped)
    dead = retried(0)
    assert dead.leftover.count == len(theirs) > 0
    assert claim(1, 10).verdict is Verdict.DUPLICATE, "it is in somebody's hands"
    again = claim(1, 7, redelivered=True)  # leftovers are not taken up in the order of their messages
    assert (again.verdict, again.leftover) == (Verdict.TAKEOVER, dead.leftover)
    assert delivery.serve(dead, Orders()).status is Status.OVER, "it is alive after all: pushed, not counted"
    assert delivery.serve(again, Orders()).status is Status.ENDED
    assert outcome(1, [*users, AUTHOR]) == ALL_ONCE
    seen = counters(1, AUTHOR)
    assert seen is not None
    assert (seen.reached, seen.total) == (10, 10)


def test_a_message_that_got_other_work_hands_on_what_is_left_over(
    redis: Any, servers: ClusterServers, stopped: RedisServer
) -> None:
    """A follower came, whom the rescue's message serves, and nobody else has a message any more."""
    users = fill(AUTHOR, 20)
    stopped.signal(signal.SIGSTOP)
    with pytest.raises(FeedsUnavailable):
        delivery.serve(claim(1), links := Orders())
    assert carry_links(links) == []
    go_on(servers, stopped)
    redis.rpush(keys.followers(AUTHOR), 5)
    fresh = claim(1, 20)
    assert (fresh.verdict, fresh.start) == (Verdict.NEXT, 20)
    delivery.serve(fresh, links)
    assert carry_links(links) == []
    assert outcome(1, [*users, AUTHOR, 5]) == ALL_ONCE
    seen = counters(1, AUTHOR)
    assert seen is not None and seen.ended is not None


def test_a_commit_whose_answer_was_lost_hands_on_what_is_left_over(
    redis: Any, servers: ClusterServers, stopped: RedisServer
) -> None:
    fill(AUTHOR, 20)
    stopped.signal(signal.SIGSTOP)
    with pytest.raises(FeedsUnavailable):
        delivery.serve(claim(1), links := Orders())
    carry_links(links)
    go_on(servers, stopped)
    batch = retried(0)
    delivery.serve(batch, first := Orders())
    assert redis.zcard(keys.left(AUTHOR, 1)) == len(first) == 1
    delivery.serve(batch, again := Orders())
    assert again == first


def test_what_is_left_over_goes_with_the_fan_out(
    redis: Any, servers: ClusterServers, stopped: RedisServer
) -> None:
    fill(AUTHOR, 10)
    stopped.signal(signal.SIGSTOP)
    for end in ("cancelled", "its list is another"):
        with pytest.raises(FeedsUnavailable):
            delivery.serve(claim(1), Orders())
        assert redis.exists(keys.left(AUTHOR, 1))
        if end == "cancelled":
            delivery.cancel(1, AUTHOR)
        else:
            redis.hset(keys.state(AUTHOR), "generation", "another")
            assert claim(1).verdict is Verdict.START
        assert not redis.exists(keys.left(AUTHOR, 1))


SLOT = st.integers(0, SLOTS - 1)


@given(st.lists(SLOT), st.lists(SLOT, min_size=1))
def test_a_leftover_has_all_that_is_left_and_nobody_else(slots: list[int], left: list[int]) -> None:
    made = Leftover.of([*slots, *left], left)
    assert Leftover.read(made.as_text()) == made
    assert made.slots() >= set(left)
    assert made.slots().isdisjoint(set(slots) - set(left))
    assert made.count == len(left) + sum(slot in left for slot in slots)


@pytest.mark.parametrize("forgot_only", [False, True], ids=["its run id is another", "nobody can tell"])
def test_a_node_that_went_back_in_time_has_the_rest_looked_at(redis: Any, forgot_only: bool) -> None:
    """A fail-over has taken a claim and its end back."""
    users = fill(AUTHOR, 40)
    links = Orders()
    delivery.serve(claim(1), links)
    before = redis.hgetall(keys.fanout(AUTHOR, 1))
    second = claim(1, 10)
    delivery.serve(second, Orders())
    redis.delete(keys.fanout(AUTHOR, 1))
    redis.hset(keys.fanout(AUTHOR, 1), mapping=before if forgot_only else {**before, b"run": b"another"})
    links = Orders([10])
    while links:
        delivery.serve(claim(1, links.pop()), links)
    assert outcome(1, users).lost == 0
    assert outcome(1, users).doubled == (10 if forgot_only else 0)


def test_a_node_that_takes_no_writes_keeps_the_photo_from_its_own_feeds_only(
    redis: Any, servers: ClusterServers
) -> None:
    users = fill(AUTHOR, 30)
    authors = owner(servers, keys.followers(AUTHOR))
    full = next(server for server in servers.primaries if server is not authors)
    theirs = [user for user in users if owner(servers, keys.homefeed(user)) is full]
    links = Orders()
    client_of(full).config_set("maxmemory", 1)
    try:
        with pytest.raises(FeedsRefused, match="used memory > 'maxmemory'"):
            delivery.serve(claim(1), links)
        others = [user for user in users[:10] if user not in theirs]
        assert outcome(1, others, theirs) == ALL_ONCE
        names = [str(user).encode() for user in users]
        refused = Pushes(2).push(names, void_at=time.monotonic() + FENCE)
        assert (refused.unsure, len(refused.unsent)) == ([], len(theirs)), "nobody has to wait for the fence"
    finally:
        client_of(full).config_set("maxmemory", 0)
    delivery.serve(claim(1, redelivered=True), links)
    while links:
        delivery.serve(claim(1, links.pop()), links)
    assert outcome(1, [*users, AUTHOR]) == ALL_ONCE


def test_fanouts_of_other_nodes_are_counted_and_settled_meanwhile(
    redis: Any, servers: ClusterServers, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "SETTLE_SECONDS": 0.001}
    shared = owner(servers, keys.queue())
    stopped = next(server for server in servers.primaries if server is not shared)
    theirs = next(a for a in range(100, 200) if owner(servers, keys.followers(a)) is stopped)
    others = next(a for a in range(100, 200) if owner(servers, keys.followers(a)) is shared)
    for photo, author in ((1, theirs), (2, others)):
        batch = delivery.begin(Message(photo, author), Beginning(without_followers=True))
        assert delivery.serve(batch, Orders()).status is Status.ENDED
    wait_until(lambda: len(delivery.take_ended(500).ended) == 2, seconds=10, what="both may be settled")
    stopped.signal(signal.SIGSTOP)
    try:
        ended = delivery.take_ended(500).ended
        assert [one.photo_id for one in ended] == [2]
        assert [one is None for one in delivery.counters([(1, theirs), (2, others)])] == [True, False]
    finally:
        stopped.signal(signal.SIGCONT)
    servers.wait_until_well()
    breaker_of.cache_clear()

    def both_again() -> bool:
        return sorted(one.photo_id for one in delivery.take_ended(500).ended) == [1, 2]

    wait_until(both_again, seconds=10, what="it is not forgotten")
    client_of(stopped).config_set("maxmemory", 1)
    try:
        assert [one.photo_id for one in delivery.take_ended(500).ended] == [2], (
            "one that refuses is passed over"
        )
    finally:
        client_of(stopped).config_set("maxmemory", 0)


def test_a_slot_on_the_move_takes_pushes_and_keeps_its_floor(redis: Any, servers: ClusterServers) -> None:
    """The list has moved to the other node, its floor has not: trimmed without it, it would have a hole."""
    users = fill(AUTHOR, 10)
    user = users[3]
    redis.rpush(keys.homefeed(user), *range(1_000, 978, -1))
    redis.set(keys.floor(user), 900)
    source = owner(servers, keys.homefeed(user))
    target = next(server for server in servers.primaries if server is not source)
    begin_to_move(keys.homefeed(user), source, target)
    client_of(source).migrate("127.0.0.1", target.port, keys.homefeed(user), 0, 5_000)
    carry_all(2_000)
    assert outcome(2_000, users) == ALL_ONCE
    move_slot(servers, keys.floor(user), source, target)
    kept = [int(photo) for photo in redis.lrange(keys.homefeed(user), 0, -1)]
    floor = int(redis.get(keys.floor(user)) or 10**9)
    assert [photo for photo in range(979, 1_001) if photo >= floor and photo not in kept] == []
    move_slot(servers, keys.homefeed(user), target, source)


def test_a_slot_that_has_moved_since_the_topology_was_asked(redis: Any, servers: ClusterServers) -> None:
    users = fill(AUTHOR, 10)
    user = users[3]
    redis.rpush(keys.homefeed(user), 5)
    source = owner(servers, keys.homefeed(user))
    target = next(server for server in servers.primaries if server is not source)
    move_slot(servers, keys.homefeed(user), source, target)
    carry_all(2_000)
    assert outcome(2_000, users) == ALL_ONCE
    assert client_of(target).llen(keys.homefeed(user)) == 2
    move_slot(servers, keys.homefeed(user), target, source)


def test_a_build_waits_for_a_batch_that_does_not_look(redis: Any) -> None:
    fill(AUTHOR, 10)
    batch = claim(1)
    reader = Thread(target=delivery.note_built, args=(42, [(1, AUTHOR)]))
    reader.start()
    try:
        wait_until(
            lambda: bool(redis.sismember(keys.built(AUTHOR, 1), 42)), seconds=10, what="the build is noted"
        )
        assert batch.void_at < time.monotonic() or reader.is_alive()
    finally:
        delivery.serve(batch, Orders())
        reader.join()
    delivery.note_built(43, [(1, AUTHOR)])  # nobody to wait for


def test_whoever_has_it_from_a_build_gets_no_second_copy(redis: Any) -> None:
    users = fill(AUTHOR, 30)
    links = Orders()
    batch = claim(1)
    redis.rpush(keys.homefeed(users[15]), 1)
    redis.sadd(keys.built(AUTHOR, 1), users[15])
    delivery.serve(batch, links)
    while links:
        delivery.serve(claim(1, links.pop()), links)
    assert outcome(1, users) == ALL_ONCE


def test_feeds_that_take_no_push_are_counted(redis: Any) -> None:
    users = fill(AUTHOR, 20)
    for user in (users[3], users[12], AUTHOR):  # who is no follower
        redis.set(keys.homefeed(user), "text")
    carry_all(1)
    seen = counters(1, AUTHOR)
    assert seen is not None
    assert (seen.reached, seen.refused) == (18, 2)


def test_ids_with_braces(redis: Any) -> None:
    users = ["a{b}c", "a}b", "{}", "x", "}{b}"]
    redis.rpush(keys.followers(AUTHOR), *users)
    for user in users:
        redis.rpush(keys.homefeed(user), *range(40, 18, -1))
        redis.set(keys.floor(user), 0)
    carry_all(50)
    assert outcome(50, users) == ALL_ONCE
    assert [redis.get(keys.floor(user)) for user in users] == [b"22"] * 5
    assert [redis.llen(keys.homefeed(user)) for user in users] == [20] * 5


def test_the_script_says_which_slots_it_writes() -> None:
    assert scripts.push_many.text(feeds_redis.client()).startswith("#!lua flags=allow-cross-slot-keys\n")
