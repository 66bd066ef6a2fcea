"""`verify_feeds` finds damage that was done on purpose, and mends it; and the rebuild commands."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from mydjangoapp import graph
from mydjangoapp.homefeed import followers, keys
from mydjangoapp.models import FanOut, Follow
from tests.feeds import carry, ids_of, logged_in, paged, publish, truth_of

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")
People = Callable[[int], list[Any]]
Damage = Callable[[Any, Any, Any, list[int]], None]


def run(command: str, **options: Any) -> tuple[int, str]:
    """Exit status and what was printed."""
    out = StringIO()
    try:
        call_command(command, stdout=out, stderr=StringIO(), **options)
    except CommandError as error:
        return error.returncode, out.getvalue() + str(error)
    return 0, out.getvalue()


@pytest.fixture
def site(make_users: People, settings: Any) -> tuple[Any, Any, Any, list[int]]:
    """A reader, the author they follow, a stranger; and the author's photos, more than a list holds."""
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_LENGTH": 10}
    me, author, stranger = make_users(3)
    graph.follow(me, author)
    photos = publish(author, 15)
    publish(stranger, 2)
    logged_in(me).get("/feed/")
    FanOut.objects.update(state="done")
    return me, author, stranger, photos


DAMAGES: dict[str, tuple[Damage, str]] = {
    "id removed from a list": (
        lambda redis, me, author, photos: redis.lrem(keys.homefeed(me.pk), 0, photos[-3]),
        "lacks photos",
    ),
    "foreign id added": (
        lambda redis, me, author, photos: redis.lpush(keys.homefeed(me.pk), photos[-1] + 1),
        "do not belong",
    ),
    "id of no photo added": (
        lambda redis, me, author, photos: redis.lpush(keys.homefeed(me.pk), 10**12),
        "do not belong",
    ),
    "garbage added": (
        lambda redis, me, author, photos: redis.lpush(keys.homefeed(me.pk), "abc"),
        "no photo id",
    ),
    "id doubled": (
        lambda redis, me, author, photos: redis.lpush(keys.homefeed(me.pk), photos[-1]),
        "twice",
    ),
    "stale floor": (
        lambda redis, me, author, photos: redis.set(keys.floor(me.pk), photos[0]),
        "lacks photos",
    ),
    "floor that is no number": (
        lambda redis, me, author, photos: redis.set(keys.floor(me.pk), "abc"),
        "is not a photo id",
    ),
    "key of a wrong type": (
        lambda redis, me, author, photos: (
            redis.delete(keys.homefeed(me.pk)) and redis.set(keys.homefeed(me.pk), "x")
        ),
        "is not a list",
    ),
    "follower list with a hole": (
        lambda redis, me, author, photos: (
            redis.lrem(keys.followers(author.pk), 0, str(me.pk))
            and redis.rpush(keys.followers(author.pk), f"{author.pk}1")
        ),
        "lacks followers",
    ),
    "foreign follower added": (
        lambda redis, me, author, photos: redis.rpush(keys.followers(author.pk), f"{author.pk}1"),
        "do not follow",
    ),
    "follower doubled": (
        lambda redis, me, author, photos: redis.rpush(keys.followers(author.pk), str(me.pk), str(me.pk)),
        "followers twice",
    ),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_found_and_mended(
    damage: Damage, words: str, site: tuple[Any, Any, Any, list[int]], redis: Any
) -> None:
    me, author, _, photos = site
    if "follower" in words or words == "do not follow":
        followers.compact(author.pk)  # no marks: what is appended by hand counts
    assert run("verify_feeds") == (0, "3 users looked at, 0 with differences\n")
    damage(redis, me, author, photos)
    status, said = run("verify_feeds")
    assert status == 1
    assert words in said
    assert "1 with differences" in said
    status, said = run("verify_feeds", repair=True)
    assert (status, "1 mended" in said) == (0, True), said
    assert run("verify_feeds")[0] == 0
    assert paged(logged_in(me), 4) == truth_of(me)


def test_one_user_or_a_sample_may_be_looked_at(site: tuple[Any, Any, Any, list[int]], redis: Any) -> None:
    me, author, *_ = site
    redis.lpush(keys.homefeed(me.pk), 10**12)
    assert run("verify_feeds", user=str(author.pk)) == (0, "1 users looked at, 0 with differences\n")
    assert run("verify_feeds", user=str(me.pk))[0] == 1
    assert run("verify_feeds", sample=2)[1].startswith(("2 users", "homefeed"))
    for wrong in ({"user": "999999"}, {"user": "abc"}, {"sample": 0}):
        status, said = run("verify_feeds", **wrong)
        assert status == 1
        assert said.startswith("--")


def test_what_people_do_is_no_damage(site: tuple[Any, Any, Any, list[int]], redis: Any) -> None:
    me, author, stranger, _ = site
    client = logged_in(me)
    graph.follow(me, stranger)
    client.get("/feed/")
    graph.mute(me, author)
    assert run("verify_feeds")[0] == 0, "muted photos stay in the list, for the unmute"
    graph.unfollow(me, author)
    assert run("verify_feeds")[0] == 0
    client.get("/feed/")
    assert run("verify_feeds")[0] == 0
    [open_one] = publish(stranger)
    assert FanOut.objects.get(photo=open_one).is_open
    assert run("verify_feeds")[0] == 0, "still to be carried"


def test_follower_lists_are_rebuilt_from_sql(site: tuple[Any, Any, Any, list[int]], redis: Any) -> None:
    me, author, stranger, _ = site
    redis.delete(keys.followers(author.pk))
    redis.rpush(keys.followers(author.pk), 999)
    redis.rpush(keys.followers(stranger.pk), 777)
    assert run("rebuild_followers") == (0, "1 follower lists rebuilt\n")
    assert redis.lrange(keys.followers(author.pk), 0, -1) == [str(me.pk).encode()]
    assert redis.lrange(keys.followers(stranger.pk), 0, -1) == [b"777"], "filled by hand: left alone"


def test_a_follower_list_in_use_is_left_and_said_so(
    site: tuple[Any, Any, Any, list[int]], redis: Any
) -> None:
    me, author, *_ = site
    redis.rpush(keys.followers(author.pk), 999)
    [photo] = publish(author)
    redis.hset(keys.fanout(author.pk, photo), "cursor", 0)
    redis.sadd(keys.running(author.pk), photo)
    Follow.objects.filter(follower=me).delete()
    graph.follow(me, author)
    redis.lrem(keys.followers(author.pk), 0, str(me.pk))
    status, said = run("rebuild_followers", user=str(author.pk))
    assert (status, "under way" in said) == (1, True)


def test_home_feeds_are_rebuilt_while_photos_arrive(
    site: tuple[Any, Any, Any, list[int]], redis: Any
) -> None:
    me, author, *_ = site
    redis.lrem(keys.homefeed(me.pk), 0, site[3][-2])
    [new] = publish(author)
    carry(new, author)
    assert run("rebuild_homefeeds") == (0, "2 home feeds built, 1 left to their next reader\n")
    assert ids_of(logged_in(me).get("/feed/?limit=100")) == truth_of(me)
