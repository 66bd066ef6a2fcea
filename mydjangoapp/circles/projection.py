"""What Redis holds of circles, kept by events. `rebuild.py` makes it again from SQL.

Each call may be repeated, in any order, so a message that comes twice changes nothing. All raise
`FeedsUnavailable` and `FeedsRefused`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count

from ..connections import broker, database
from ..connections.redis_server import Script
from ..homefeed import turns
from ..homefeed.feeds_redis import client, edge, life, store
from ..models import Like, UserId, author_column, get_photo_model
from . import keys

KEPT_DAYS = 30
AT_ONCE = 1_000
MOST_EQUALS = 10_000  # photos with the same score that are put in order
ASKED_SECONDS = 60.0  # how long nobody else asks for the same rebuild

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


def expiry(day: date) -> int:
    """When what is kept of a day goes: seconds since 1970."""
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=KEPT_DAYS + 1)
    return int(end.timestamp())


def add(photo_id: int, user_id: UserId, circle_id: int | None, created_at: datetime) -> None:
    """Adds a new photo. Two round trips; one more where Redis has been restarted or emptied since the last
    call: then a worker rebuilds what it holds in the background."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.get(keys.author_complete(user_id))
        pipeline.get(keys.complete(circle_id or 0))
        pipeline.zadd(keys.of_author(user_id), {str(photo_id): photo_id})
        if circle_id is not None:
            pipeline.zadd(keys.of_circle(circle_id), {str(photo_id): photo_id})
            pipeline.zadd(keys.of_author_in_circle(circle_id, user_id), {str(photo_id): photo_id})
            day = day_of(created_at)
            if is_kept(day):
                pipeline.zadd(keys.hot(circle_id, day), {str(photo_id): 1}, nx=True)
                pipeline.expireat(keys.hot(circle_id, day), expiry(day))
        author_complete, circle_complete, *_ = pipeline.execute()
    now = life().encode()
    if author_complete != now:
        _ask_for_rebuild(keys.of_author(user_id), "rebuild_photos_of", broker.plain(user_id))
    if circle_id is not None and circle_complete != now:
        ask_for_rebuild(circle_id)


def ask_for_rebuild(circle_id: int) -> None:
    """Asks a worker to rebuild what Redis holds of a circle, unless somebody has just asked for that."""
    _ask_for_rebuild(keys.of_circle(circle_id), "rebuild_circle", circle_id)


def _ask_for_rebuild(key: str, task: str, of: Any) -> None:
    if turns.begin(keys.rebuilding(key), ASKED_SECONDS):
        broker.send_by_name(task, of)


def remove(photo_id: int, user_id: UserId, circle_id: int | None, *, from_author: bool = True) -> None:
    """Removes a photo that was deleted, or whose circle was. One round trip."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        if from_author:
            pipeline.zrem(keys.of_author(user_id), str(photo_id))
        if circle_id is not None:
            pipeline.zrem(keys.of_circle(circle_id), str(photo_id))
            pipeline.zrem(keys.of_author_in_circle(circle_id, user_id), str(photo_id))
            for ago in range(KEPT_DAYS + 1):
                pipeline.zrem(keys.hot(circle_id, today() - timedelta(days=ago)), str(photo_id))
        pipeline.execute()


class Liked(NamedTuple):
    """A like, or, where it does not count, one that was taken back. Ids of likes grow."""

    photo: int
    user: Any
    like: int
    counts: bool


def count_likes(circle_id: int, day: date, likes: Iterable[Liked]) -> int:
    """Likes were given on that day, or taken back; returns by how much scores have changed. One round
    trip."""
    if not is_kept(day):
        return 0
    parts = [part for one in likes for part in (one.photo, str(one.user), one.like, int(one.counts))]
    return int(_count_likes([keys.hot(circle_id, day), keys.counted(circle_id, day)], [expiry(day), *parts]))


def ranking(circle_id: int, day: date, limit: int) -> list[tuple[int, int]] | None:
    """Photos and scores of a day, the best first, of equal ones the newest; None if Redis may have lost some
    of them: it was emptied, or restarted after a crash. Two round trips, and one per 1,000 photos with the
    score of the last one, at most ten."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.get(keys.complete(circle_id))
        pipeline.zrevrange(keys.hot(circle_id, day), 0, limit + AT_ONCE - 1, withscores=True)
        complete, found = pipeline.execute()
    if complete != life().encode():
        return None
    with edge():
        # Redis orders equal scores as text, so 9 comes before 10: they are sorted below.
        for _ in range(MOST_EQUALS // AT_ONCE):
            if len(found) <= limit or found[-1][1] != found[limit - 1][1]:
                break
            more: Any = client().zrevrange(
                keys.hot(circle_id, day), len(found), len(found) + AT_ONCE - 1, withscores=True
            )
            found += more
            if len(more) < AT_ONCE:
                break
    scores = {int(photo): int(score) for photo, score in found}
    return sorted(scores.items(), key=lambda one: (-one[1], -one[0]))[:limit]


def ranking_from_sql(circle_id: int, day: date, limit: int | None) -> list[tuple[int, int]]:
    """The same from SQL, for the circle's 1,000 newest photos, to be used while Redis cannot be asked. Two
    queries, whose cost does not grow with the circle."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = begin + timedelta(days=1)
    photos = database.primary(get_photo_model()).filter(circle_id=circle_id).order_by("-id")
    posted = dict(photos.values_list("id", "created_at")[:AT_ONCE])
    likes = database.primary(Like).filter(photo__in=list(posted), created_at__gte=begin, created_at__lt=end)
    counted = dict(likes.order_by().values_list("photo").annotate(Count("id")))
    scores = {
        photo: 1 + counted.get(photo, 0)
        for photo, created_at in posted.items()
        if photo in counted or begin <= created_at < end
    }
    return sorted(scores.items(), key=lambda one: (-one[1], -one[0]))[:limit]


def forget(circle_id: int) -> None:
    """Drops what is kept of a circle that was deleted. A round trip per 1,000 photos."""
    key, last = keys.of_circle(circle_id), 0
    while True:
        with edge():
            found: Any = client().zrangebyscore(key, f"({last}", "+inf", start=0, num=AT_ONCE)
        if not found:
            break
        photos = [int(photo) for photo in found]
        last = photos[-1]
        there = database.primary(get_photo_model()).filter(id__in=photos)
        authors = set(there.values_list(author_column(), flat=True))
        with edge():
            client().unlink(
                keys.rebuilding(key), *(keys.of_author_in_circle(circle_id, user) for user in authors)
            )
        if len(found) < AT_ONCE:
            break
    days = [today() - timedelta(days=ago) for ago in range(-1, KEPT_DAYS + 1)]
    with edge():
        client().unlink(
            key,
            keys.complete(circle_id),
            *(make(circle_id, day) for day in days for make in (keys.hot, keys.counted)),
        )
