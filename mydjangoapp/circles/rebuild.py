"""Making what Redis holds of circles again from SQL, while the site runs.

All raise `FeedsUnavailable` and `FeedsRefused`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from more_itertools import batched, map_reduce

from ..connections import database
from ..connections.paging import in_pages
from ..homefeed import turns
from ..homefeed.feeds_redis import client, edge, life
from ..models import Circle, Like, UserId, author_column, author_is, get_photo_model
from . import keys
from .projection import AT_ONCE, KEPT_DAYS, Liked, count_likes, day_of, expiry, is_kept, remove, today

REBUILD_SECONDS = 600.0  # longer than any takes; until then no other process follows one that was killed


def rebuild_once(circle_id: int) -> None:
    """Makes a circle anew, unless another process is at it: a second one would begin by deleting what the
    first has made."""
    turn = f"{keys.rebuilding(keys.of_circle(circle_id))}:now"
    with turns.held(turn, REBUILD_SECONDS, strictly=True) as is_ours:
        circle = database.primary(Circle).filter(pk=circle_id).first()
        if is_ours and circle is not None:
            rebuild(circle)


def rebuild(circle: Circle) -> int:
    """Makes everything of a circle anew from SQL; returns how many photos it has.

    While the site runs: what comes in meanwhile is counted, whichever is first. Rankings are short of some
    likes until it has ended. A round trip per 1,000 photos, and per day of 1,000 likes.
    """
    photos = database.primary(get_photo_model()).filter(circle_id=circle.pk).order_by("id")
    before = life(now=True)
    _forget(circle)
    number = 0
    for some in in_pages(photos.values_list("id", author_column(), "created_at"), size=AT_ONCE):
        number += len(some)
        _add_many(circle.pk, some)
        there = set(photos.filter(id__in=[photo for photo, *_ in some]).values_list("id", flat=True))
        for photo, user, _ in some:
            if photo not in there:
                remove(photo, user, circle.pk)
    _count_again(circle)
    if life(now=True) == before:
        with edge():
            client().set(keys.complete(circle.pk), before)
    return number


def rebuild_author(user_id: UserId) -> int:
    """Makes `photos:{user}` anew from SQL; returns how many photos that are."""
    photos = database.primary(get_photo_model()).filter(author_is(user_id)).order_by("id")
    photo_ids = photos.values_list("id", flat=True)
    before = life(now=True)
    with edge():
        client().delete(keys.of_author(user_id), keys.author_complete(user_id))
    number = 0
    for page in in_pages(photos.values_list("id"), size=AT_ONCE):
        some = [photo for (photo,) in page]
        number += len(some)
        with edge():
            client().zadd(keys.of_author(user_id), {str(photo): photo for photo in some})
        if gone := set(some) - set(photo_ids.filter(id__in=some)):
            with edge():
                client().zrem(keys.of_author(user_id), *map(str, gone))
    if life(now=True) == before:
        with edge():
            client().set(keys.author_complete(user_id), before)
    return number


def _forget(circle: Circle) -> None:
    photos = database.primary(get_photo_model()).filter(circle_id=circle.pk)
    authors = photos.order_by().values_list(author_column(), flat=True).distinct()
    days = [today() - timedelta(days=ago) for ago in range(KEPT_DAYS + 1)]
    kept = [keys.of_circle(circle.pk), keys.complete(circle.pk)]
    kept += [make(circle.pk, day) for day in days for make in (keys.hot, keys.counted)]
    with edge():
        client().delete(*kept)
    for some in batched(authors.iterator(AT_ONCE), AT_ONCE):
        with edge():
            client().delete(*(keys.of_author_in_circle(circle.pk, user) for user in some))


def _add_many(circle_id: int, photos: Iterable[tuple[int, Any, datetime]]) -> None:
    with edge():
        pipeline = client().pipeline(transaction=False)
        for photo, user, created_at in photos:
            pipeline.zadd(keys.of_circle(circle_id), {str(photo): photo})
            pipeline.zadd(keys.of_author_in_circle(circle_id, user), {str(photo): photo})
            if is_kept(day := day_of(created_at)):
                pipeline.zadd(keys.hot(circle_id, day), {str(photo): 1}, nx=True)
                pipeline.expireat(keys.hot(circle_id, day), expiry(day))
        pipeline.execute()


def _count_again(circle: Circle) -> None:
    begin = datetime.combine(today() - timedelta(days=KEPT_DAYS), datetime.min.time(), UTC)
    likes = database.primary(Like).filter(photo__circle_id=circle.pk, created_at__gte=begin).order_by("id")
    for some in in_pages(likes, size=AT_ONCE):
        by_day = map_reduce(
            some,
            keyfunc=lambda like: day_of(like.created_at),
            valuefunc=lambda like: Liked(like.photo_id, like.user_id, like.pk, counts=True),
        )
        for day, given in by_day.items():
            count_likes(circle.pk, day, given)
            liked = {one.photo for one in given}
            there = database.primary(get_photo_model()).filter(circle_id=circle.pk, id__in=liked)
            if gone := liked - set(there.values_list("id", flat=True)):
                with edge():
                    client().zrem(keys.hot(circle.pk, day), *map(str, gone))
