"""What comes between a build's look at SQL and its swap: each rule of the model, one by one.

The result of such a build must be dropped, or the list would have a hole above its floor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mydjangoapp import graph
from mydjangoapp.homefeed import keys, rebuild, scripts
from tests.test_feed_api import carry, logged_in, publish
from tests.test_feed_oracle import paged, truth_of

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")
People = Callable[[int], list[Any]]
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
