"""Bringing changes of the graph into Redis, surely: at once on commit, or else some seconds later.

What was applied leaves a receipt in Redis. A change without one is applied again when it has settled:
its process died right after the commit, Redis was away, or lost its last second in a crash (AOF
everysec), and the receipt with it. Every change may be applied any number of times, in any order
(`homefeed/followers.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from .conf import conf
from .exceptions import FeedError, FeedsRefused
from .homefeed import cached, followers, relations, rows
from .homefeed.followers import Change
from .models import Follow, GraphChange

logger = logging.getLogger(__name__)

AT_ONCE = 1_000  # rows a query


def note(followee: Any, changes: Sequence[Change]) -> list[int]:
    """Writes changes of one author's followers down, in the transaction that makes them; returns the
    rows' ids, for `settled`."""
    follows = [change.row for change in changes if change.verb == "follow"]
    waiting = [
        GraphChange(verb="unfollow", follower_id=change.follower, followee_id=followee, row=change.row)
        for change in changes
        if change.verb == "unfollow"
    ]
    if follows:
        waiting.append(
            GraphChange(verb="follow", followee_id=followee, row=min(follows), last_row=max(follows))
        )
    return [row.pk for row in GraphChange.objects.bulk_create(waiting)]


def note_relation(*users: Any) -> list[int]:
    """Writes down that whom these users want to see has changed, in the transaction that does it."""
    waiting = [GraphChange(verb="relation", follower_id=user) for user in users]
    return [row.pk for row in GraphChange.objects.bulk_create(waiting)]


def settled(noted: Sequence[int]) -> None:
    """Says that these rows' changes are in Redis. Raises `FeedsUnavailable`, `FeedsRefused`."""
    if noted:
        relations.give_receipts(noted)


def photos_changed(*photos: int) -> None:
    """Voids what is cached of photos that were changed or deleted. Call it when that is committed; while the
    cache is away it is written down instead, and done when the cache is back."""
    if photos and not cached.changed(rows.PHOTOS.name, *photos):
        _note(GraphChange(verb=GraphChange.Verb.PHOTO, row=photo) for photo in photos)


def author_changed(user: Any) -> None:
    """The same for what everybody may know of a user."""
    if not cached.changed(rows.AUTHORS.name, user):
        _note([GraphChange(verb=GraphChange.Verb.AUTHOR, follower_id=user)])


def likes_changed(user: Any) -> None:
    """The same for what a user likes."""
    try:
        relations.likes_changed(user)
    except FeedError as error:
        logger.warning("the likes of user %s wait in the outbox: %s", user, error)
        _note([GraphChange(verb=GraphChange.Verb.LIKES, follower_id=user)])


def _note(changes: Iterable[GraphChange]) -> None:
    GraphChange.objects.bulk_create(changes)


def catch_up() -> int:
    """Applies what has waited long enough and has no receipt; returns how many rows that were.

    A row is forgotten when Redis has held its receipt for `SETTLE_SECONDS`. One that Redis refuses is left
    for later and does not stop the others. Any number may run at once. Raises `FeedsUnavailable`.
    """
    settled_before = timezone.now() - timedelta(seconds=conf.SETTLE_SECONDS)
    waiting = GraphChange.objects.filter(created_at__lt=settled_before).order_by("id")
    done = last = 0
    while some := list(waiting.filter(id__gt=last)[:AT_ONCE]):
        last = some[-1].pk
        ages = relations.receipts_held_for([row.pk for row in some])
        held = [
            row.pk
            for row, age in zip(some, ages, strict=True)
            if age is not None and age >= conf.SETTLE_SECONDS
        ]
        late = [row for row, age in zip(some, ages, strict=True) if age is None]
        # Not forgotten yet: Redis may lose this one, too.
        applied = [row.pk for row in late if _applied(row)]
        settled(applied)
        if held:
            GraphChange.objects.filter(id__in=held).delete()
            relations.forget_receipts(held)
        done += len(applied)
    return done


def _applied(row: GraphChange) -> bool:
    try:
        return _apply(row)
    except FeedsRefused as error:
        logger.error("%s is not in Redis yet: %s", row, error)
        return False


def _apply(row: GraphChange) -> bool:
    """Whether it could be done."""
    match row.verb:
        case GraphChange.Verb.RELATION:
            relations.changed(row.follower_id)
        case GraphChange.Verb.LIKES:
            relations.likes_changed(row.follower_id)
        case GraphChange.Verb.PHOTO:
            return cached.changed(rows.PHOTOS.name, row.row)
        case GraphChange.Verb.AUTHOR:
            return cached.changed(rows.AUTHORS.name, row.follower_id)
        case GraphChange.Verb.UNFOLLOW:
            followers.apply(row.followee_id, [Change("unfollow", row.follower_id, row.row)])
        case _:
            # Those that are gone again have an unfollow of their own.
            made = Follow.objects.filter(followee=row.followee_id, id__gte=row.row, id__lte=row.last_row)
            there = made.order_by("id").values_list("follower_id", "id")
            followers.apply(
                row.followee_id,
                (Change("follow", user, id_) for user, id_ in there.iterator(chunk_size=AT_ONCE)),
            )
    return True
