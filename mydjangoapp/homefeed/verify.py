"""Comparing what is in Redis with the truth, and mending it. Safe while the site runs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from more_itertools import batched

from ..conf import conf
from ..connections import database
from ..models import FanOut, Follow, UserId, get_photo_model
from ..photos import visibility
from . import followers, keys, rebuild
from .delivery import trim_slack
from .feeds_redis import client, edge

SHOWN = 5  # ids printed of each kind
NAMED = 1_000  # ids compared between the looks
BETWEEN_LOOKS = 0.1  # seconds: long enough for a change to arrive in Redis too
AT_ONCE = 1_000
LOOKS = 3  # what changes between reading SQL and Redis looks like damage once, but not three times
ATTEMPTS = 5


@dataclass(frozen=True)
class Difference:
    """What is wrong with one key: `key`, a sentence, and some of the ids it is about."""

    key: str
    problem: str
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f": {', '.join(self.ids[:SHOWN])}" if self.ids else ""
        return f"{self.key} {self.problem}{named}"


def feed(user_id: UserId) -> list[Difference]:
    """What differs between a user's list, from its floor upwards, and SQL.

    A list that is missing or has no floor promises nothing: it is built at the next read. Photos whose
    fan-out has not ended, or that are merged at read (`PULL_ABOVE`), need not be in it; deleted ones may
    still be there, for the removal to take out.
    """
    return _again(lambda: _feed(user_id))


def _again(look: Callable[[], Iterable[Difference]]) -> list[Difference]:
    """Only what every look finds, the same ids each time."""
    found = list(look())
    for _ in range(LOOKS - 1):
        if not found:
            break
        time.sleep(BETWEEN_LOOKS)
        now = {(one.key, one.problem): one for one in look()}
        found = [
            replace(one, ids=tuple(both))
            for one in found
            if (other := now.get((one.key, one.problem)))
            and ((both := [id_ for id_ in one.ids if id_ in other.ids]) or not one.ids)
        ]
    return found


def _feed(user_id: UserId) -> Iterator[Difference]:
    key = keys.homefeed(user_id)
    ended = Q(fanout__state__in=(FanOut.State.DONE, FanOut.State.FAILED))
    pruned = Q(fanout=None, created_at__lt=timezone.now() - timedelta(days=conf.KEEP_FANOUTS))
    pushed = visibility.carried_to(user_id).using(database.writer()).filter(ended | pruned, pulled=False)
    most = conf.MAX_LENGTH + trim_slack() + 1
    expected = list(pushed.values_list("id", flat=True)[:most])
    with edge():
        pipeline = client().pipeline(transaction=True)
        pipeline.lrange(key, 0, -1)
        pipeline.get(keys.floor(user_id))
        listed, floor = pipeline.execute(raise_on_error=False)
    if not isinstance(listed, list):
        yield Difference(key, "is not a list")
        return
    if not listed:
        return
    found = {int(id_) for id_ in listed if _is_id(id_)}
    if garbage := [repr(id_) for id_ in listed if not _is_id(id_)]:
        yield Difference(key, "has what is no photo id", tuple(garbage))
    if len(listed) - len(garbage) > len(found):
        yield Difference(key, "has a photo twice")
    known = _known(user_id, found)
    if foreign := sorted(found - known, reverse=True):
        yield Difference(key, "has photos that do not belong there", _some(foreign))
    if floor is None:
        return
    if not isinstance(floor, bytes) or not floor.isdigit():
        yield Difference(keys.floor(user_id), f"is not a photo id but {floor!r}")
    elif missing := [id_ for id_ in expected if id_ >= int(floor) and id_ not in found]:
        yield Difference(key, f"lacks photos from its floor, {int(floor)}, upwards", _some(missing))


def _is_id(text: bytes) -> bool:
    return text.isdigit() and int(text) <= visibility.EVERYTHING


def _known(user_id: UserId, ids: set[int]) -> set[int]:
    """Of these ids those that belong into the user's list, and those of photos that were deleted."""
    fanouts = set(database.primary(FanOut).filter(photo_id__in=ids).values_list("photo_id", flat=True))
    photos = set(database.primary(get_photo_model()).filter(id__in=ids).values_list("id", flat=True))
    carried = set(
        visibility.carried_to(user_id)
        .using(database.writer())
        .filter(id__in=ids)
        .values_list("id", flat=True)
    )
    return carried | (fanouts - photos)


def mend_feed(user_id: UserId) -> bool:
    """Takes out what does not belong into the list and builds it anew with its floor. False if there
    is no list, or if changes got in the way each time: then the next reader builds it."""
    key = keys.homefeed(user_id)
    with edge():
        listed: Any = client().lrange(key, 0, -1) if client().type(key) == b"list" else []
        if not listed:
            client().delete(key, keys.floor(user_id), keys.token(user_id))
            return False
    known = _known(user_id, {int(id_) for id_ in listed if _is_id(id_)})
    with edge():
        pipeline = client().pipeline(transaction=False)
        for id_ in set(listed):
            if not _is_id(id_) or int(id_) not in known:
                pipeline.lrem(key, 0, id_)
        pipeline.delete(keys.floor(user_id), keys.token(user_id))
        pipeline.execute()
    return any(rebuild.build(user_id, again=True) for _ in range(ATTEMPTS))


def follower_list(author_id: UserId) -> list[Difference]:
    """What differs between an author's follower list, less those marked as gone, and SQL.

    A list that is missing is right: it is made from SQL when it is needed. Redis holds a copy of the
    list meanwhile; Python 1,000 ids at a time.
    """
    return _again(lambda: _follower_list(author_id))


def _follower_list(author_id: UserId) -> Iterator[Difference]:
    key = keys.followers(author_id)
    if not followers.exist(author_id):
        return
    with edge():
        if client().type(key) != b"list":
            yield Difference(key, "is not a list")
            return
    seen = keys.followers_seen(author_id, secrets.token_hex(4))
    try:
        doubled = _copy_living(author_id, seen)
        missing: list[str] = []
        rows = (
            database.primary(Follow)
            .filter(followee=author_id)
            .order_by("id")
            .values_list("follower_id", flat=True)
        )
        for some in batched(rows.iterator(chunk_size=AT_ONCE), AT_ONCE):
            names = [str(user) for user in some]
            with edge():
                found: Any = client().smismember(seen, names)
                client().srem(seen, *names)
            if len(missing) < NAMED:
                missing += [name for name, there in zip(names, found, strict=True) if not there]
        with edge():
            foreign: Any = client().srandmember(seen, NAMED)
    finally:
        with edge():
            client().unlink(seen)
    if doubled:
        yield Difference(key, "has followers twice", _some(doubled))
    if missing:
        yield Difference(key, "lacks followers", _some(missing))
    if foreign:
        yield Difference(key, "has users who do not follow", _some([name.decode() for name in foreign]))


def _copy_living(author_id: UserId, seen: str) -> list[str]:
    """Copies the entries that count into the set `seen`; returns some that are there twice."""
    doubled: list[str] = []
    start = 0
    while True:
        with edge():
            names: Any = client().lrange(keys.followers(author_id), start, start + AT_ONCE - 1)
            if not names:
                return doubled
            marks: Any = client().hmget(keys.marks(author_id), names)
            pipeline = client().pipeline(transaction=False)
            living = [
                name
                for index, (name, mark) in enumerate(zip(names, marks, strict=True), start=start)
                if mark is None or index >= int(mark.split(b":")[0])
            ]
            for name in living:
                pipeline.sadd(seen, name)
            pipeline.expire(seen, 3_600)
            added = pipeline.execute()[: len(living)]
        if len(doubled) < NAMED:
            doubled += [name.decode() for name, new in zip(living, added, strict=True) if not new]
        start += AT_ONCE


def mend_follower_list(author_id: UserId) -> bool:
    """Makes the list anew from SQL. False if it was left alone: a fan-out is under way, or SQL knows
    no follower at all, and the list was filled by hand.

    Raises `FollowersBeingRebuilt`.
    """
    return followers.are_in_sql(author_id) and followers.rebuild(author_id) > 0


def _some(ids: list[Any]) -> tuple[str, ...]:
    return tuple(str(id_) for id_ in ids)
