"""Leases and turns when a reply is lost, and when the clock of Redis is set back (a fail-over)."""

from __future__ import annotations

from typing import Any

import pytest

from mydjangoapp.connections import redis_client
from mydjangoapp.exceptions import FollowersBeingRebuilt
from mydjangoapp.fanout import ledger, rescue, settling
from mydjangoapp.homefeed import delivery, followers, keys, rebuild, turns
from mydjangoapp.homefeed.delivery import Beginning, Message, Verdict
from mydjangoapp.models import FanOut, Follow
from tests.checker import ALL_ONCE, fill, has_ended, outcome, state
from tests.ledger import Sent, carry, grow_old, let_time_pass, publish, settled

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")
SET_BACK = 10_000  # seconds


def claim(photo: int, author: Any, cursor: int = 0, *, redelivered: bool = False) -> delivery.Claim:
    return delivery.begin(Message(photo, author.pk, cursor, redelivered), Beginning())


@pytest.fixture
def small(settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "BATCH_SIZE": 10}


@pytest.fixture
def lost_replies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each script runs, its reply is lost, and the client sends it once more, as redis-py does by itself."""
    repeated: list[str] = []
    round_trip = redis_client._round_trip

    def twice(connection: Any, commands: Any) -> Any:
        if commands[0][0] == "EVALSHA":
            round_trip(connection, commands)
            repeated.append(commands[0][1])
        return round_trip(connection, commands)

    monkeypatch.setattr(redis_client, "_round_trip", twice)
    return repeated


def test_a_claim_whose_reply_was_lost_is_granted_to_the_same_call_again(
    author: Any, small: None, lost_replies: list[str]
) -> None:
    """And is not told `duplicate` of itself, which stalled the chain for a lease."""
    users = fill(author.pk, 25)
    photo = publish(author)
    begun = claim(photo, author)
    assert (begun.verdict, begun.start, begun.stop) == (Verdict.START, 0, 10)
    following = claim(photo, author, 10)
    assert (following.verdict, following.start, following.stop) == (Verdict.NEXT, 10, 20)
    again = claim(photo, author, 10, redelivered=True)
    assert again.verdict is Verdict.TAKEOVER
    assert lost_replies, "the calls were repeated"
    assert claim(photo, author, 0).verdict is Verdict.DUPLICATE, "another message's call is another"
    photo = publish(author)
    cursor = 0
    while sent := carry(photo, author, cursor):
        cursor = sent[0][2]
    assert outcome(photo, users) == ALL_ONCE


def test_rebuilding_a_follower_list_goes_on_when_replies_are_lost(
    make_users: Any, lost_replies: list[str]
) -> None:
    author, *people = make_users(5)
    Follow.objects.bulk_create(Follow(follower=user, followee=author) for user in people)
    assert followers.rebuild(author.pk) == 4
    assert followers.count(author.pk) == 4


def test_a_clock_set_back_does_not_make_a_chains_lease_young(author: Any, redis: Any, small: None) -> None:
    users = fill(author.pk, 25)
    photo = publish(author)
    carry(photo, author)
    redis.hincrbyfloat(keys.fanout(author.pk, photo), "beat", SET_BACK)
    assert carry(photo, author, 0) != [], "taken over"
    redis.hincrbyfloat(keys.fanout(author.pk, photo), "beat", SET_BACK)
    FanOut.objects.filter(photo_id=photo).update(heartbeat_at="2020-01-01T00:00:00Z")
    redis.hset(keys.queue(), "moved", redis.time()[0] + SET_BACK)
    sent = Sent()
    assert rescue.rescue(sent).enqueued == 1, "the rescue does not take it for alive"
    [(_, _, cursor)] = sent
    while sent := carry(photo, author, cursor, redelivered=True):
        cursor = sent[0][2]
    assert outcome(photo, users) == ALL_ONCE


def test_a_clock_set_back_does_not_keep_a_rewrite_from_being_taken_over(make_users: Any, redis: Any) -> None:
    author, *people = make_users(3)
    Follow.objects.bulk_create(Follow(follower=user, followee=author) for user in people)
    assert followers._begin(author.pk, must_exist=False) is not None
    with pytest.raises(FollowersBeingRebuilt):
        followers.rebuild(author.pk)
    redis.hincrbyfloat(keys.rewrite(author.pk), "beat", SET_BACK)
    assert followers.rebuild(author.pk) == 2


def test_a_clock_set_back_holds_up_neither_builds_nor_turns(author: Any, redis: Any) -> None:
    """A key's life ends at a time of day: it is far away then."""
    publish(author)
    redis.set(keys.build(author.pk), "a reader who is gone", px=SET_BACK * 1000)
    assert rebuild.build(author.pk) is True
    redis.set(keys.rescuing(), "a rescue that is over", px=SET_BACK * 1000)
    assert rescue.is_wanted() is True
    assert rescue.is_wanted() is False
    with turns.held(keys.catching_up(), 10) as got, turns.held(keys.catching_up(), 10) as other:
        assert (got, other) == (True, False)
    with turns.held(keys.catching_up(), 10) as got:
        assert got


def test_a_clock_set_back_does_not_put_off_settling(author: Any, redis: Any, settings: Any) -> None:
    fill(author.pk, 5)
    photo = publish(author)
    carry(photo, author)
    let_time_pass(photo, -SET_BACK)
    settling.settle(Sent(), Sent())
    assert state(photo) == "waiting", "counted from now on"
    let_time_pass(photo, 1)
    settling.settle(Sent(), Sent())
    assert state(photo) == "done"


def test_a_rebuild_that_was_taken_over_is_not_taken_for_no_followers(
    make_users: Any, monkeypatch: pytest.MonkeyPatch, redis: Any
) -> None:
    """The fan-out comes again; it does not end as `done` with nobody reached."""
    author, *people = make_users(6)
    Follow.objects.bulk_create(Follow(follower=user, followee=author) for user in people)
    photo = publish(author)
    swap = followers._swap

    def lose(*arguments: Any, **options: Any) -> bytes:
        monkeypatch.setattr(followers, "_swap", swap)
        redis.hset(keys.rewrite(author.pk), "token", "another's")  # the lease was over
        return swap(*arguments, **options)

    monkeypatch.setattr(followers, "_swap", lose)
    with pytest.raises(FollowersBeingRebuilt):
        carry(photo, author)
    assert state(photo) == "waiting"
    redis.delete(keys.rewrite(author.pk))
    carry(photo, author)
    assert settled(photo) == "done"
    assert FanOut.objects.get(photo_id=photo).reached == 5
    assert outcome(photo, [user.pk for user in people]) == ALL_ONCE


@pytest.mark.parametrize("redis_was_away", [False, True])
def test_a_failed_fanout_keeps_neither_compaction_nor_repair_from_the_list(
    make_users: Any, redis: Any, redis_was_away: bool, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_ATTEMPTS": 1, "BATCH_SIZE": 2}
    author, *people = make_users(6)
    Follow.objects.bulk_create(Follow(follower=user, followee=author) for user in people)
    followers.rebuild(author.pk)
    photo = publish(author)
    carry(photo, author)
    assert followers.compact(author.pk) is False, "its cursor points into the list"
    if redis_was_away:
        FanOut.objects.filter(photo_id=photo).update(state="failed")  # Redis could not be told
    else:
        redis.delete(keys.fanout(author.pk, photo))
        redis.set(keys.fanout(author.pk, photo), "of a wrong type")
        for _ in range(2):
            ledger.count_refusal(photo, author.pk)
        assert not redis.exists(keys.running(author.pk), keys.fanout(author.pk, photo))
    assert state(photo) == "failed"
    assert followers.compact(author.pk) is True
    assert followers.rebuild(author.pk) == 5
    rescue.retry(sent := Sent(), [photo])
    for number, user, cursor in sent:
        while more := carry(number, author, cursor):
            assert user == author.pk
            cursor = more[0][2]
    assert outcome(photo, [user.pk for user in people]) == ALL_ONCE


@pytest.mark.parametrize("redelivered", [True, False])
def test_a_chain_that_goes_on_after_hours_looks_before_each_push(
    author: Any, redis: Any, small: None, redelivered: bool
) -> None:
    """What is known of lists that were built meanwhile is kept for a day; also where the next link goes
    on."""
    users = fill(author.pk, 25)
    photo = publish(author)
    carry(photo, author)
    redis.hincrbyfloat(keys.fanout(author.pk, photo), "beat", -2 * delivery.GUARD_AFTER)
    redis.lpush(keys.homefeed(users[15]), photo)  # built from SQL, which nobody remembers
    cursor = 10
    while sent := carry(photo, author, cursor, redelivered=redelivered):
        cursor = sent[0][2]
    assert outcome(photo, users) == ALL_ONCE


def test_a_list_built_after_redis_lost_the_end_of_a_fanout_gets_no_second_copy(
    make_users: Any, redis: Any, small: None
) -> None:
    author, me, *people = make_users(25)
    Follow.objects.bulk_create(Follow(follower=user, followee=author) for user in [*people, me])
    photo = publish(author)
    carry(photo, author)
    before = {key: redis.dump(key) for key in redis.keys("*")}
    cursor = 10
    while sent := carry(photo, author, cursor):
        cursor = sent[0][2]
    assert has_ended(photo)
    redis.flushdb()  # a crash takes the end back
    for key, value in before.items():
        redis.restore(key, 0, value)
    assert rebuild.build(me.pk)
    grow_old(photo, 4)
    sent = Sent()
    assert rescue.rescue(sent).enqueued == 1
    cursor = sent[0][2]
    while sent := carry(photo, author, cursor):
        cursor = sent[0][2]
    assert outcome(photo, [user.pk for user in [*people, me]]) == ALL_ONCE
