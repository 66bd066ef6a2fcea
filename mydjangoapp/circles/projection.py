"""What Redis holds of circles: kept by events, and made anew from SQL.

Each call may be repeated, in any order, so a message that comes twice changes nothing. All raise
`FeedsUnavailable` and `FeedsRefused`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count, Q
from more_itertools import batched, map_reduce

from ..homefeed.connection import client, edge, store
from ..models import Circle, Like, Photo
from ..redis_store import Script
from . import keys

KEPT_DAYS = 30
AT_ONCE = 1_000

_count_likes = Script("count_likes", __package__ or "", store)


def today() -> date:
    """The day in UTC."""
    return datetime.now(UTC).date()


def day_of(when: datetime) -> date:
    """Its day in UTC."""
    return when.astimezone(UTC).date()


def is_kept(day: date) -> bool:
    """Whether the ranking of this day is still there."""
    return day >= today() - timedelta(days=KEPT_DAYS)


def _expiry(day: date) -> int:
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=KEPT_DAYS + 1)
    return int(end.timestamp())


def add(photo: int, user: Any, circle: Any | None, created_at: datetime) -> None:
    """A photo was posted. One round trip."""
    with edge():
        pipeline = client().pipeline(transaction=True)
        pipeline.zadd(keys.of_author(user), {str(photo): photo})
        if circle is not None:
            pipeline.zadd(keys.of_circle(circle), {str(photo): photo})
            pipeline.zadd(keys.of_author_in_circle(circle, user), {str(photo): photo})
            day = day_of(created_at)
            if is_kept(day):
                pipeline.zadd(keys.hot(circle, day), {str(photo): 1}, nx=True)
                pipeline.expireat(keys.hot(circle, day), _expiry(day))
        pipeline.execute()


def remove(photo: int, user: Any, circle: Any | None) -> None:
    """A photo was deleted. One round trip."""
    with edge():
        pipeline = client().pipeline(transaction=True)
        pipeline.zrem(keys.of_author(user), str(photo))
        if circle is not None:
            pipeline.zrem(keys.of_circle(circle), str(photo))
            pipeline.zrem(keys.of_author_in_circle(circle, user), str(photo))
            for ago in range(KEPT_DAYS + 1):
                pipeline.zrem(keys.hot(circle, today() - timedelta(days=ago)), str(photo))
        pipeline.execute()


class Liked(NamedTuple):
    """A like, or, where it does not count, one that was taken back. Ids of likes grow."""

    photo: int
    user: Any
    like: int
    counts: bool


def count_likes(circle: Any, day: date, likes: Iterable[Liked]) -> int:
    """Likes were given on that day, or taken back; returns by how much scores have changed. One round
    trip."""
    if not is_kept(day):
        return 0
    parts = [part for one in likes for part in (one.photo, one.user, one.like, int(one.counts))]
    return int(_count_likes([keys.hot(circle, day), keys.counted(circle, day)], [_expiry(day), *parts]))


def ranking(circle: Any, day: date, limit: int) -> list[tuple[int, int]]:
    """Photos and scores of a day, the best first, of equal ones the newest. One round trip."""
    with edge():
        # More than are asked for: which of the equals come first is not Redis's order.
        found: Any = client().zrevrange(keys.hot(circle, day), 0, 2 * limit + 100, withscores=True)
    scores = ((int(photo), int(score)) for photo, score in found)
    return sorted(scores, key=lambda one: (-one[1], -one[0]))[:limit]


def ranking_from_sql(circle: Any, day: date, limit: int | None) -> list[tuple[int, int]]:
    """The same, as SQL says. One query."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = begin + timedelta(days=1)
    that_day = Q(likes__created_at__gte=begin, likes__created_at__lt=end)
    found = (
        Photo.objects.filter(circle=circle)
        .annotate(score=Count("likes", filter=that_day) + 1)
        .filter(Q(score__gt=1) | Q(created_at__gte=begin, created_at__lt=end))
        .order_by("-score", "-id")
        .values_list("id", "score")
    )
    return [(photo, score) for photo, score in (found if limit is None else found[:limit])]


def rebuild(circle: Circle) -> int:
    """Makes everything of a circle anew from SQL; returns how many photos it has.

    While the site runs: what comes in meanwhile is counted, whichever is first. Rankings are short of some
    likes until it has ended. A round trip per 1,000 photos, and per day of 1,000 likes.
    """
    photos = Photo.objects.filter(circle=circle).order_by("id")
    _forget(circle)
    number = 0
    last = 0
    while some := list(photos.filter(id__gt=last).values_list("id", "user_id", "created_at")[:AT_ONCE]):
        last = some[-1][0]
        number += len(some)
        _add_many(circle.pk, some)
    _count_again(circle)
    return number


def rebuild_author(user: Any) -> int:
    """Makes `photos:{user}` anew from SQL; returns how many photos that are."""
    photos = Photo.objects.filter(user=user).order_by("id").values_list("id", flat=True)
    with edge():
        client().delete(keys.of_author(user))
    number = last = 0
    while some := list(photos.filter(id__gt=last)[:AT_ONCE]):
        last = some[-1]
        number += len(some)
        with edge():
            client().zadd(keys.of_author(user), {str(photo): photo for photo in some})
    return number


def _forget(circle: Circle) -> None:
    authors = Photo.objects.filter(circle=circle).order_by().values_list("user_id", flat=True).distinct()
    days = [today() - timedelta(days=ago) for ago in range(KEPT_DAYS + 1)]
    kept = [keys.of_circle(circle.pk)]
    kept += [make(circle.pk, day) for day in days for make in (keys.hot, keys.counted)]
    with edge():
        client().delete(*kept)
    for some in batched(authors.iterator(AT_ONCE), AT_ONCE):
        with edge():
            client().delete(*(keys.of_author_in_circle(circle.pk, user) for user in some))


def _add_many(circle: Any, photos: Iterable[tuple[int, Any, datetime]]) -> None:
    with edge():
        pipeline = client().pipeline(transaction=False)
        for photo, user, created_at in photos:
            pipeline.zadd(keys.of_circle(circle), {str(photo): photo})
            pipeline.zadd(keys.of_author_in_circle(circle, user), {str(photo): photo})
            if is_kept(day := day_of(created_at)):
                pipeline.zadd(keys.hot(circle, day), {str(photo): 1}, nx=True)
                pipeline.expireat(keys.hot(circle, day), _expiry(day))
        pipeline.execute()


def _count_again(circle: Circle) -> None:
    begin = datetime.combine(today() - timedelta(days=KEPT_DAYS), datetime.min.time(), UTC)
    likes = Like.objects.filter(photo__circle=circle, created_at__gte=begin).order_by("id")
    last = 0
    while some := list(likes.filter(id__gt=last)[:AT_ONCE]):
        last = some[-1].pk
        by_day = map_reduce(
            some,
            keyfunc=lambda like: day_of(like.created_at),
            valuefunc=lambda like: Liked(like.photo_id, like.user_id, like.pk, counts=True),
        )
        for day, given in by_day.items():
            count_likes(circle.pk, day, given)
