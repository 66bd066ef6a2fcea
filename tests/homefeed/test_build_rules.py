"""What comes between a build's look at SQL and its swap: each rule of the model, one by one.

The result of such a build must be dropped, or the list would have a hole above its floor.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection as database

from mydjangoapp import graph
from mydjangoapp.homefeed import followers, keys, rebuild, scripts
from mydjangoapp.models import Photo
from tests import ledger
from tests.feeds import People, carry, ids_of, logged_in, paged, publish, truth_of

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")
Between = Callable[[Any, Any, Any], None]


def push(redis: Any, me: Any, author: Any) -> None:
    for photo in publish(author):
        carry(photo, author)


def push_until_it_trims(redis: Any, me: Any, author: Any) -> None:
    for photo in publish(author, 10):
        carry(photo, author)
    assert redis.llen(keys.homefeed(me.pk)) <= 6


def lose_the_list(redis: Any, me: Any, author: Any) -> None:
    redis.delete(keys.homefeed(me.pk))


def lose_redis(redis: Any, me: Any, author: Any) -> None:
    redis.flushdb()
    redis.rpush(keys.homefeed(me.pk), *publish(author))


def another_build_after_the_lease(redis: Any, me: Any, author: Any) -> None:
    redis.delete(keys.build(me.pk))
    assert rebuild.build(me.pk, again=True) is True


RULES: dict[str, tuple[Between, bool, dict[str, Any]]] = {
    "a push that makes the list": (push, False, {}),
    "a push that is left out because there is no list": (push, False, {"INACTIVE_AFTER": 1000}),
    "a trim": (push_until_it_trims, True, {}),
    "the loss of a list that was there": (lose_the_list, True, {}),
    "a loss of Redis": (lose_redis, True, {}),
    "another build that took the lock over": (another_build_after_the_lease, True, {}),
}


@pytest.mark.parametrize(("between", "had_list", "mode"), RULES.values(), ids=RULES)
def test_a_build_is_dropped_after(
    between: Between,
    had_list: bool,
    mode: dict[str, Any],
    make_users: People,
    redis: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_LENGTH": 5, **mode}
    me, author = make_users(2)
    graph.follow(me, author)
    publish(author, 8)
    if had_list:
        logged_in(me).get("/feed/")
        assert redis.exists(keys.homefeed(me.pk), keys.floor(me.pk)) == 2
    swap = scripts.swap_build

    def late(*arguments: Any) -> Any:
        monkeypatch.undo()
        settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_LENGTH": 5, **mode}
        between(redis, me, author)
        return swap(*arguments)

    monkeypatch.setattr(scripts, "swap_build", late)
    assert rebuild.build(me.pk, again=True) is False
    assert paged(logged_in(me), 3) == truth_of(me)


def test_without_anything_in_between_a_build_is_kept(make_users: People, redis: Any) -> None:
    me, author = make_users(2)
    graph.follow(me, author)
    photos = publish(author, 3)
    assert rebuild.build(me.pk) is True
    assert redis.lrange(keys.homefeed(me.pk), 0, -1) == [str(photo).encode() for photo in photos[::-1]]
    assert redis.get(keys.floor(me.pk)) == b"0"
    assert not redis.exists(keys.token(me.pk), keys.build(me.pk))
    assert rebuild.build(me.pk) is False, "it is there"


def test_a_hundred_first_readers_build_the_list_once(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, redis: Any
) -> None:
    me, author = pair
    photos = publish(author, 30)
    redis.delete(keys.homefeed(me.pk), keys.floor(me.pk))
    built: list[bool] = []
    build = rebuild.build

    def counted(user: Any, **how: bool) -> bool:
        built.append(build(user, **how))
        return built[-1]

    monkeypatch.setattr(rebuild, "build", counted)

    together = Barrier(100)

    def read(_: int) -> list[int]:
        together.wait(timeout=60)
        try:
            return ids_of(logged_in(me).get("/feed/?limit=7"))
        finally:
            database.close()

    with ThreadPoolExecutor(100) as threads:
        pages = list(threads.map(read, range(100)))
    assert pages == [photos[:-8:-1]] * 100
    assert built.count(True) == 1


def test_a_build_is_dropped_when_something_changes_meanwhile(
    pair: tuple[Any, Any], make_users: People, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A follow between the SQL snapshot and the swap: the list would lack the followee's photos."""
    me, author = pair
    [other] = make_users(1)
    publish(author, 3)
    theirs = publish(other, 2)
    swap = scripts.swap_build

    def late(*arguments: Any) -> Any:
        graph.follow(me, other)
        return swap(*arguments)

    monkeypatch.setattr(scripts, "swap_build", late)
    assert rebuild.build(me.pk) is False
    monkeypatch.undo()
    assert redis.get(keys.floor(me.pk)) is None
    assert ids_of(logged_in(me).get("/feed/?limit=2")) == theirs[::-1]


def test_a_photo_that_was_committed_after_the_snapshot_is_kept_by_the_swap(
    pair: tuple[Any, Any], redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, author = pair
    publish(author, 3)
    logged_in(me).get("/feed/")
    swap = scripts.swap_build
    new: list[int] = []

    def late(*arguments: Any) -> Any:
        new.extend(publish(author))
        carry(new[0], author)
        return swap(*arguments)

    monkeypatch.setattr(scripts, "swap_build", late)
    assert rebuild.build(me.pk, again=True) is True
    assert redis.lrange(keys.homefeed(me.pk), 0, 0) == [str(new[0]).encode()]


def test_a_list_that_is_gone_while_its_floor_is_there_is_not_an_empty_feed(
    pair: tuple[Any, Any], redis: Any
) -> None:
    me, author = pair
    old = publish(author, 3)
    client = logged_in(me)
    client.get("/feed/")
    redis.delete(keys.homefeed(me.pk))
    [new] = publish(author)
    carry(new, author)
    assert ids_of(client.get("/feed/")) == [new, *old[::-1]]


def test_an_old_photo_that_arrives_late_is_in_its_place_and_once(
    pair: tuple[Any, Any], settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_LENGTH": 3}
    me, author = pair
    photos = publish(author, 8)
    client = logged_in(me)
    client.get("/feed/")
    carry(photos[0], author)
    assert paged(client, 3) == photos[::-1]


@pytest.mark.parametrize("batch_size", [10_000, 1])
def test_a_photo_in_a_list_built_from_sql_is_not_pushed_again_by_its_chain(
    make_users: People, redis: Any, settings: Any, batch_size: int
) -> None:
    """Published, then read by a follower without floor and by the author, then carried."""
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "BATCH_SIZE": batch_size}
    me, author, other = make_users(3)
    followers.apply(author.pk, [])
    for user in (other, me):
        graph.follow(user, author)
    assert followers.compact(author.pk), "no mark guards the pushes"
    [photo] = publish(author)
    for reader in (me, author):
        assert ids_of(logged_in(reader).get("/feed/")) == [photo]
        assert redis.lrange(keys.homefeed(reader.pk), 0, -1) == [str(photo).encode()]
    cursor = 0
    while sent := ledger.carry(photo, author, cursor):
        cursor = sent[0][2]
    for user in (me, author, other):
        assert redis.lrange(keys.homefeed(user.pk), 0, -1) == [str(photo).encode()], "once"
    assert not redis.exists(keys.built(author.pk, photo)), "nothing is left of it"


def test_a_photo_whose_row_is_made_late_is_not_pushed_to_those_who_have_it(
    make_users: People, redis: Any
) -> None:
    me, author = make_users(2)
    graph.follow(me, author)
    followers.compact(author.pk)
    [photo] = Photo.objects.bulk_create([Photo(user=author, description="imported")])
    assert ids_of(logged_in(me).get("/feed/")) == [photo.pk]
    ledger.carry(photo.pk, author)
    assert redis.lrange(keys.homefeed(me.pk), 0, -1) == [str(photo.pk).encode()]


def test_a_build_whose_reply_was_lost_may_be_asked_for_again(make_users: People) -> None:
    """The client repeats the call: it is not told that another reader is at it."""
    [me] = make_users(1)
    names = [keys.build(me.pk), keys.token(me.pk), keys.homefeed(me.pk), keys.floor(me.pk)]
    first = scripts.begin_build(names, ["mine", 3_000, 0])
    assert first is not None
    assert scripts.begin_build(names, ["mine", 3_000, 0]) == first
    assert scripts.begin_build(names, ["another", 3_000, 0]) is None
