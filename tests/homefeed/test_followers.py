"""The follower list against a plain set, under changes in any order, repeats, rebuilds and compactions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mydjangoapp import graph
from mydjangoapp.exceptions import FollowersBeingRebuilt
from mydjangoapp.homefeed import delivery, feeds_redis, followers, keys, scripts
from mydjangoapp.homefeed.delivery import Beginning, Message, Status, Verdict
from mydjangoapp.homefeed.followers import Change
from mydjangoapp.models import Follow
from tests.checker import ALL_ONCE, Orders, outcome


def served_by(author: int, photo: int) -> dict[int, int]:
    """Carries a photo and counts each follower's copies, as the slices see the list."""
    batch = delivery.begin(Message(photo, author), Beginning(without_followers=True))
    while True:
        enqueued = Orders()
        served = delivery.serve(batch, enqueued)
        if served.status is Status.ENDED:
            break
        batch = delivery.claim(Message(photo, author, enqueued[0]))
        assert batch.verdict is Verdict.NEXT
    client: Any = feeds_redis.client()
    wanted = str(photo).encode()
    users = range(1, 8)
    return {u: n for u in users if (n := client.lrange(keys.homefeed(u), 0, -1).count(wanted))}


change = st.tuples(st.sampled_from(["follow", "unfollow"]), st.integers(1, 6))
step = st.one_of(
    change,
    st.tuples(st.just("repeat"), st.integers(0, 30)),
    st.tuples(st.just("late"), st.integers(0, 30)),
    st.tuples(st.sampled_from(["rebuild", "compact", "lose"]), st.just(0)),
    st.tuples(st.just("begin compaction"), st.just(0)),
    st.tuples(st.just("end compaction"), st.just(0)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(step, max_size=40))
def test_the_list_delivers_to_exactly_those_who_follow(
    transactional_db: None, redis: Any, make_users: Callable[[int], list[Any]], steps: list[tuple[str, int]]
) -> None:
    """Changes reach Redis late, twice, or in the wrong order; lists are lost and rewritten in between."""
    redis.flushall()
    Follow.objects.all().delete()
    author = make_users(1)[0].pk
    people = dict(enumerate(make_users(6), start=1))
    history: list[Change] = []
    waiting: list[Change] = []
    rewrite: str | None = None
    for word, number in steps:
        if word in ("follow", "unfollow"):
            user = people[number].pk
            row = Follow.objects.filter(follower_id=user, followee_id=author).first()
            if (row is None) == (word == "unfollow"):
                continue
            if word == "follow":
                made = Change("follow", user, Follow.objects.create(follower_id=user, followee_id=author).pk)
            else:
                made = Change("unfollow", user, row.pk)  # type: ignore[union-attr]
                row.delete()  # type: ignore[union-attr]
            waiting.append(made)
        elif word == "late" and waiting:
            late = waiting.pop(number % len(waiting))
            followers.apply(author, [late])
            history.append(late)
        elif word == "repeat" and history:
            followers.apply(author, [history[number % len(history)]])
        elif word == "rebuild" and rewrite is None:
            followers.rebuild(author)
        elif word == "compact" and rewrite is None:
            followers.compact(author)
        elif word == "lose" and rewrite is None:
            redis.flushall()
        elif word == "begin compaction" and rewrite is None:
            rewrite = followers._begin(author, must_exist=True)
        elif word == "end compaction" and rewrite is not None:
            _finish_compaction(author, rewrite)
            rewrite = None
    for change_ in waiting:
        followers.apply(author, [change_])
    if rewrite is not None:
        _finish_compaction(author, rewrite)
    followers.ensure(author)
    expected = set(Follow.objects.filter(followee_id=author).values_list("follower_id", flat=True))
    everyone = [user.pk for user in people.values()]
    photo = 99
    served_by(author, photo)
    found = {user: outcome(photo, [user]) for user in everyone}
    assert {user for user, o in found.items() if not o.lost} == expected
    assert not any(o.doubled for o in found.values())


def _finish_compaction(author: int, rewrite: str) -> None:
    names = [keys.followers(author), keys.marks(author), keys.rewrite(author)]
    names += [keys.next_followers(author), keys.next_marks(author)]
    while scripts.copy_rewrite(names, [rewrite, 2]) > 0:
        pass
    followers._swap(author, rewrite, highest=0, copied=True)


@pytest.fixture
def followed(transactional_db: None, redis: Any, author: Any, make_users: Any) -> list[Any]:
    users: list[Any] = make_users(50)
    graph.follow_many(users, author)
    return users


def test_follow_and_unfollow_are_repeatable_and_say_what_they_did(
    transactional_db: None, redis: Any, author: Any, make_users: Any
) -> None:
    one, two = make_users(2)
    assert graph.follow(one, author)
    assert not graph.follow(one.pk, author.pk)
    assert graph.follow(two, author)
    assert redis.lrange(keys.followers(author.pk), 0, -1) == [str(u.pk).encode() for u in (one, two)]
    assert graph.unfollow(one, author)
    assert not graph.unfollow(one, author)
    assert redis.llen(keys.followers(author.pk)) == 2, "the list is only appended to"
    with pytest.raises(ValueError, match="yourself"):
        graph.follow(author, author)


def test_follow_many_brings_in_each_once_whatever_came_before(
    transactional_db: None, redis: Any, author: Any, make_users: Any
) -> None:
    users = make_users(2_500)
    assert graph.follow(users[3], author)
    assert graph.follow_many(users, author) == 2_499
    assert graph.follow_many([*users, author], author) == 0
    assert Follow.objects.filter(followee=author).count() == 2_500
    assert not redis.exists(keys.marks(author.pk)), "an import does not leave its marks"
    assert redis.llen(keys.followers(author.pk)) == 2_500


def test_compaction_drops_the_dead_and_the_marks_and_waits_for_running_fanouts(
    followed: list[Any], redis: Any, author: Any, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "SLICE_SIZE": 4}
    for user in followed[:10]:
        graph.unfollow(user, author)
    delivery.begin(Message(1, author.pk), Beginning())
    assert not followers.compact(author.pk), "a cursor points into the list"
    delivery.cancel(1, author.pk)
    assert followers.compact(author.pk)
    assert redis.lrange(keys.followers(author.pk), 0, -1) == [str(u.pk).encode() for u in followed[10:]]
    assert not redis.exists(keys.marks(author.pk))


def test_a_compaction_is_given_up_when_a_fanout_begins(followed: list[Any], redis: Any, author: Any) -> None:
    rewrite = followers._begin(author.pk, must_exist=True)
    assert rewrite
    before = redis.lrange(keys.followers(author.pk), 0, -1)
    delivery.begin(Message(1, author.pk), Beginning())
    _finish_compaction(author.pk, rewrite)
    assert redis.lrange(keys.followers(author.pk), 0, -1) == before
    assert not redis.exists(keys.rewrite(author.pk), keys.next_followers(author.pk))


def test_one_rewrite_at_a_time_and_an_abandoned_one_is_taken_over(
    followed: list[Any], redis: Any, author: Any
) -> None:
    assert followers._begin(author.pk, must_exist=True)
    with pytest.raises(FollowersBeingRebuilt):
        followers.rebuild(author.pk)
    redis.hincrbyfloat(keys.rewrite(author.pk), "beat", -60)  # its owner died a minute ago
    assert followers.rebuild(author.pk) == 50


def test_a_worker_throws_the_dead_out_after_a_fanout(
    followed: list[Any], redis: Any, author: Any, workers: Any
) -> None:
    from devtools.servers import wait_until
    from mydjangoapp import uploads

    workers(MYDJANGOAPP_COMPACT_AFTER="5")
    for user in followed[:10]:
        graph.unfollow(user, author)
    uploads.publish(author, description="x", photo_url="https://example.com/x.jpg")
    length = keys.followers(author.pk)
    wait_until(lambda: redis.llen(length) == 40, seconds=20, what="the list is compacted")


def test_a_follow_voids_floor_and_token_of_the_followers_feed(
    transactional_db: None, redis: Any, author: Any, make_users: Any
) -> None:
    [user] = make_users(1)
    redis.mset({keys.floor(user.pk): 3, keys.token(user.pk): "t"})
    graph.follow(user, author)
    assert not redis.exists(keys.floor(user.pk), keys.token(user.pk))


def test_a_deleted_user_leaves_the_lists_and_takes_his_keys_with_him(
    followed: list[Any], redis: Any, author: Any
) -> None:
    user = followed[0]
    redis.rpush(keys.homefeed(user.pk), 1)
    pk = user.pk
    user.delete()
    assert not redis.exists(keys.homefeed(pk))
    served_by(author.pk, 5)
    assert outcome(5, [u.pk for u in followed[1:]], absent=[pk]).unexpected == 0


def test_a_follow_while_redis_is_down_is_kept_and_said(
    transactional_db: None, author: Any, make_users: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from devtools.servers import free_port

    [user] = make_users(1)
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    assert graph.follow(user, author)
    assert Follow.objects.count() == 1
    assert "waits in the outbox" in caplog.text


def test_a_follow_that_did_not_reach_redis_does_when_it_is_repeated(
    followed: list[Any], redis: Any, author: Any, make_users: Any
) -> None:
    [user] = make_users(1)
    Follow.objects.create(follower=user, followee=author)  # and its process died
    assert not graph.follow(user, author), "they did already"
    assert redis.lrange(keys.followers(author.pk), -1, -1) == [str(user.pk).encode()]
    graph.follow(user, author)
    served_by(author.pk, 5)
    assert outcome(5, [u.pk for u in [*followed, user]]) == ALL_ONCE


def test_a_late_follow_of_one_who_has_left_again_does_not_bring_him_back(
    transactional_db: None, redis: Any, author: Any, make_users: Any
) -> None:
    one, two = make_users(2)
    old = Follow.objects.create(follower=one, followee=author)
    row = Follow.objects.create(follower=two, followee=author)
    row.delete()
    followers.apply(author.pk, [Change("unfollow", two.pk, row.pk or old.pk + 1)])
    followers.rebuild(author.pk)
    followers.apply(author.pk, [Change("follow", two.pk, old.pk + 1)])
    served_by(author.pk, 5)
    assert outcome(5, [one.pk], absent=[two.pk]) == ALL_ONCE


def test_a_fanout_whose_state_was_lost_does_not_hold_up_compaction(
    followed: list[Any], redis: Any, author: Any
) -> None:
    delivery.begin(Message(1, author.pk), Beginning())
    redis.delete(keys.fanout(author.pk, 1))
    assert followers.compact(author.pk)
