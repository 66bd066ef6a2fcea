"""A Redis of an earlier version is moved over: nothing of it is lost, wherever the move was broken off."""

from __future__ import annotations

import random
from io import StringIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command

from devtools.servers import free_port
from mydjangoapp import graph
from mydjangoapp.fanout import chain, settling
from mydjangoapp.homefeed import delivery, keys, old_keys
from mydjangoapp.homefeed.delivery import Message, Status
from mydjangoapp.homefeed.old_keys import Report
from mydjangoapp.models import get_photo_model
from tests.checker import ALL_ONCE, Orders, Outcome, outcome
from tests.connections.test_hash_tags import PLAIN, WITH_BRACES
from tests.feeds import People, ids_of, logged_in, publish, truth_of
from tests.ledger import Sent, let_time_pass

OF_LIST = {"followers-marks": keys.marks, "followers-state": keys.state, "fanouts": keys.running}
REWRITES = {
    "followers-rewrite": keys.rewrite,
    "followers-next": keys.next_followers,
    "followers-next-marks": keys.next_marks,
}
OF_USER = {**OF_LIST, **REWRITES, "floor": keys.floor}
OF_FANOUT = {"fanout": keys.fanout, "fanout-built": keys.built}


def prefix() -> str:
    return keys.followers("").removesuffix("followers:")


def as_before(redis: Any, users: list[Any], photos: list[int]) -> None:
    """Gives the keys of these users and photos the names that they had."""
    names = {make(user.pk): f"{prefix()}{word}:{user.pk}" for user in users for word, make in OF_USER.items()}
    for photo in photos:
        for word, make in OF_FANOUT.items():
            names |= {make(user.pk, photo): f"{prefix()}{word}:{photo}" for user in users}
    for new, old in names.items():
        if redis.exists(new):
            redis.rename(new, old)
    for member, at in redis.zrange(keys.ended(), 0, -1, withscores=True):
        redis.zrem(keys.ended(), member)
        redis.zadd(keys.ended(), {member.split(b":")[0]: at})


def content(redis: Any) -> dict[bytes, bytes]:
    """Everything that has to be there after a move, but for what this version makes anew."""
    words = ("floor", "token", "relations", "likes", "homefeed-build", "settling", "rescuing")
    return {
        name: redis.dump(name)
        for name in redis.scan_iter()
        if not name.decode().removeprefix(prefix()).startswith(words)
    }


def migrate_keys() -> str:
    out = StringIO()
    call_command("migrate_keys", stdout=out, stderr=StringIO())
    return out.getvalue()


def names_of_old_keys(redis: Any) -> list[bytes]:
    return [name for name in redis.scan_iter() if old_keys.read(name)]


def warnings() -> list[str | None]:
    return [message.id for message in run_checks(tags=["mydjangoapp"])]


class Site:
    """An author whom twelve follow, and one no longer does; a fan-out under way that has come to the third
    follower, and one that has ended."""

    def __init__(self, redis: Any, make_users: People) -> None:
        self.redis = redis
        self.author, self.gone, *self.followers = make_users(14)
        graph.follow_many([self.gone, *self.followers], self.author)
        [self.first] = publish(self.author)
        self.orders = self.carry_first(self.first)
        while self.orders:
            self.carry_next(self.first)
        graph.unfollow(self.gone, self.author)
        for user in self.followers[:2]:
            logged_in(user).get("/feed/")
        [self.photo] = publish(self.author)
        # Built with the photo, before the fan-out comes to them.
        for user in self.followers[-2:]:
            logged_in(user).get("/feed/")
        self.orders = self.carry_first(self.photo)
        self.users = [self.author, self.gone, *self.followers]

    def carry_first(self, photo: int) -> Orders:
        batch = delivery.begin(Message(photo, self.author.pk), delivery.Beginning())
        assert batch.granted
        delivery.serve(batch, orders := Orders())
        return orders

    def carry_next(self, photo: int) -> None:
        batch = delivery.claim(Message(photo, self.author.pk, self.orders.pop()))
        assert batch.granted, batch.verdict
        delivery.serve(batch, self.orders)

    def end(self) -> Outcome:
        """Carries the rest of the fan-out that is under way."""
        while self.orders:
            self.carry_next(self.photo)
        return outcome(self.photo, [user.pk for user in self.followers], absent=[self.gone.pk])

    def become_old(self) -> None:
        as_before(self.redis, self.users, [self.first, self.photo])


@pytest.fixture(params=["", "shop:"])
def site(
    request: pytest.FixtureRequest, redis: Any, transactional_db: None, make_users: People, settings: Any
) -> Site:
    settings.MYDJANGOAPP = {
        **settings.MYDJANGOAPP,
        "KEY_PREFIX": request.param,
        "BATCH_SIZE": 3,
        "SLICE_SIZE": 3,
    }
    return Site(redis, make_users)


def test_everything_is_there_under_its_new_name(site: Site) -> None:
    redis = site.redis
    before = content(redis)
    assert any(b"fanout-built" in name for name in before)
    site.become_old()
    assert content(redis) != before
    assert "mydjangoapp.W010" in warnings()
    assert "keys moved" in migrate_keys()
    assert content(redis) == before
    assert "mydjangoapp.W010" not in warnings()
    assert migrate_keys() == "0 keys moved, 0 dropped\n"
    assert content(redis) == before


def test_a_fanout_goes_on_across_the_move(site: Site) -> None:
    site.become_old()
    migrate_keys()
    assert site.end() == ALL_ONCE
    let_time_pass(site.photo)
    let_time_pass(site.first)
    assert settling.settle(Sent(), Sent()).author_ids == [site.author.pk]
    for user in site.users:
        assert ids_of(logged_in(user).get("/feed/")) == truth_of(user)


def test_without_the_move_it_does_not(site: Site) -> None:
    site.become_old()
    batch = delivery.begin(Message(site.photo, site.author.pk), delivery.Beginning())
    while delivery.serve(batch, orders := Orders()).status is not Status.ENDED:
        batch = delivery.claim(Message(site.photo, site.author.pk, orders.pop()))
    served = outcome(site.photo, [user.pk for user in site.followers], absent=[site.gone.pk])
    assert served.unexpected == 1, "or the tests above show nothing"


@pytest.mark.parametrize("seed", range(6))
def test_a_move_that_was_broken_off_is_ended_by_the_next(site: Site, seed: int) -> None:
    before = content(site.redis)
    site.become_old()
    names = sorted(names_of_old_keys(site.redis))
    random.Random(seed).shuffle(names)  # noqa: S311
    old_keys.move(names[: len(names) * seed // 5], Report())
    migrate_keys()
    assert content(site.redis) == before
    assert site.end() == ALL_ONCE


def test_what_both_layouts_have_is_made_anew_from_sql(site: Site) -> None:
    """Processes of this version were at work before the move."""
    site.become_old()
    newcomer, *_ = site.followers
    graph.unfollow(newcomer, site.author)
    graph.follow(newcomer, site.author)
    said = migrate_keys()
    assert "1 follower lists are built anew" in said
    assert not site.redis.exists(keys.followers(site.author.pk))
    assert not names_of_old_keys(site.redis)
    [photo] = publish(site.author)
    sent = Sent()
    chain.carry(Message(photo, site.author.pk), sent)
    while sent:
        chain.carry(Message(*sent.pop()), sent)
    assert outcome(photo, [user.pk for user in site.followers], absent=[site.gone.pk]) == ALL_ONCE
    for user in site.users:
        assert ids_of(logged_in(user).get("/feed/")) == truth_of(user)


def test_an_ended_fanout_whose_photo_is_gone_names_its_author(site: Site) -> None:
    get_photo_model()._base_manager.filter(pk=site.first)._raw_delete("default")
    site.become_old()
    migrate_keys()
    assert site.redis.zrange(keys.ended(), 0, -1) == [f"{site.first}:{site.author.pk}".encode()]
    assert site.redis.exists(keys.fanout(site.author.pk, site.first))


@pytest.mark.parametrize("user", PLAIN + WITH_BRACES)
@pytest.mark.parametrize("key_prefix", ["", "shop:"])
def test_old_keys_are_told_from_new_ones(user: str, key_prefix: str, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "KEY_PREFIX": key_prefix}
    for word, make in OF_USER.items():
        assert old_keys.read(make(user).encode()) is None
        old = f"{key_prefix}{word}:{user}"
        assert old_keys.read(old.encode()) == (old, word, user)
    for word, make_of_photo in OF_FANOUT.items():
        assert old_keys.read(make_of_photo(user, 17).encode()) is None
        old = f"{key_prefix}{word}:17"
        assert old_keys.read(old.encode()) == (old, word, "17")
    for public in (keys.followers(user), keys.homefeed(user), keys.ended(), keys.queue()):
        assert old_keys.read(public.encode()) is None


def test_keys_of_others_are_left_alone(site: Site) -> None:
    theirs = ["fanout:today", "fanouts", "other:floor:7", "photos:floor:7"]
    for name in theirs:
        site.redis.set(name, "theirs")
    site.redis.set(b"\xff\xfe", "theirs")
    migrate_keys()
    assert [site.redis.get(name) for name in [*theirs, b"\xff\xfe"]] == [b"theirs"] * 5


def test_without_redis_it_says_what_to_do(settings: Any, db: None) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "REDIS_URL": url}
    with pytest.raises(CommandError, match=r"REDIS_URL.*run it again"):
        migrate_keys()
