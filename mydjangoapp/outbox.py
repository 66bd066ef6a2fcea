"""Bringing changes into Redis, cache and storage, surely: at once on commit, or else some seconds later.

Each change is a row of the transaction that makes it. What was applied leaves a receipt in Redis. A change
without one is applied again when it has settled: its process died right after the commit, Redis was away, or
lost its last second in a crash (AOF everysec), and the receipt with it. Every change may be applied any
number of times, in any order (`homefeed/followers.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone

from .circles import projection
from .conf import conf
from .connections import broker, database
from .connections.patience import Budget
from .exceptions import FeedError, FeedsRefused
from .homefeed import delivery, followers, keys, relations, turns
from .homefeed.followers import Change
from .models import Follow, GraphChange, Photo
from .photos import row_cache, rows

logger = logging.getLogger(__name__)

AT_ONCE = 200  # rows a query
TURN_SECONDS = 10.0  # a process that has died while it emptied the outbox keeps others from it for so long
FILE_IS_LEFT = 1  # in `last_row` of a deletion
Verb = GraphChange.Verb


def note(followee: Any, changes: Sequence[Change]) -> list[int]:
    """Writes changes of one author's followers down, in the transaction that makes them; returns the
    rows' ids, for `settled`."""
    follows = [change.row for change in changes if change.verb == "follow"]
    waiting = [
        GraphChange(verb=Verb.UNFOLLOW, follower_id=change.follower, followee_id=followee, row=change.row)
        for change in changes
        if change.verb == "unfollow"
    ]
    if follows:
        waiting.append(
            GraphChange(verb=Verb.FOLLOW, followee_id=followee, row=min(follows), last_row=max(follows))
        )
    return [row.pk for row in write(waiting)]


def note_relation(*users: Any) -> list[int]:
    """Writes down that whom these users want to see has changed, in the transaction that does it."""
    return [row.pk for row in write(GraphChange(verb=Verb.RELATION, follower_id=user) for user in users)]


def settled(noted: Sequence[int]) -> None:
    """Says that these rows' changes are in Redis. Raises `FeedsUnavailable`, `FeedsRefused`."""
    if noted:
        relations.give_receipts(noted)


def photos_changed(*photos: int) -> None:
    """In the transaction that changes these photos: what is cached of them is void when it commits."""
    _change(GraphChange(verb=Verb.PHOTO, row=photo) for photo in photos)


def photo_deleted(photo: int, author: Any, file: str) -> None:
    """In the transaction that deletes the photo: when it commits nobody sees it any more, its fan-out ends,
    it is taken out of the lists in the background, and its file is removed."""
    _change([GraphChange(verb=Verb.DELETED, row=photo, followee_id=author, file=file)])


def like_changed(user: Any, photo: int) -> None:
    """In the transaction in which a user likes the photo, or no longer does."""
    _change([GraphChange(verb=Verb.LIKES, follower_id=user, row=photo)])


def author_changed(user: Any) -> None:
    """In the transaction that changes or deletes a user: everybody gets the new name; a user who is gone
    leaves nothing in Redis."""
    _change([GraphChange(verb=Verb.AUTHOR, follower_id=user)])


def circle_deleted(circle: int) -> None:
    """In the transaction that deletes the circle: what Redis holds of it goes when it commits."""
    _change([GraphChange(verb=Verb.CIRCLE, row=circle)])


def write(changes: Iterable[GraphChange]) -> list[GraphChange]:
    """Writes rows of the outbox in the open transaction, for `bring_in`."""
    return database.primary(GraphChange).bulk_create(changes)


def _change(changes: Iterable[GraphChange]) -> None:
    database.on_commit(partial(bring_in, write(changes)))


def bring_in(changes: Sequence[GraphChange]) -> None:
    """Applies changes that have been committed. Never raises: what cannot be done now is done by
    `catch_up`."""
    try:
        settled(_applied(changes))
    except FeedError as error:
        logger.error("%d changes wait in the outbox, among them %s: %s", len(changes), changes[0], error)


def catch_up(budget: Budget | None = None) -> int:
    """Applies what has waited long enough and has no receipt; returns how many rows that were.

    A row is forgotten when Redis has held its receipt for `SETTLE_SECONDS`. One that Redis refuses is left
    for later and does not stop the others. One process at a time; when the budget is spent the next call goes
    on where this one stopped. Raises `FeedsUnavailable`.
    """
    with turns.held(keys.catching_up(), TURN_SECONDS) as got:
        return _catch_up(budget) if got else 0


def _catch_up(budget: Budget | None) -> int:
    settled_before = timezone.now() - timedelta(seconds=conf.SETTLE_SECONDS)
    outbox = database.primary(GraphChange)
    waiting = outbox.filter(created_at__lt=settled_before).order_by("id")
    done, last = 0, relations.outbox_position() if budget else 0
    while some := list(waiting.filter(id__gt=last)[:AT_ONCE]):
        last = some[-1].pk
        ages = relations.receipts_held_for([row.pk for row in some])
        held = [
            row.pk
            for row, age in zip(some, ages, strict=True)
            if age is not None and age >= conf.SETTLE_SECONDS
        ]
        # Not forgotten yet: Redis may lose this one, too.
        applied = _applied([row for row, age in zip(some, ages, strict=True) if age is None])
        settled(applied)
        if held:
            outbox.filter(id__in=held).delete()
            relations.forget_receipts(held)
        done += len(applied)
        if budget and budget.is_spent:
            relations.set_outbox_position(last)
            return done
    if budget:
        relations.set_outbox_position(0)
    return done


def _applied(changes: Sequence[GraphChange]) -> list[int]:
    """Applies them; returns the ids of the rows for which that could be done."""
    done = []
    photos = [row for row in changes if row.verb == Verb.PHOTO]
    if photos and row_cache.changed(rows.PHOTOS.name, *(row.row for row in photos)):
        done += [row.pk for row in photos]
    for row in changes:
        try:
            if row.verb != Verb.PHOTO and _apply(row):
                done.append(row.pk)
        except FeedsRefused as error:
            logger.error("%s is not in Redis yet: %s", row, error)
    return done


def _apply(row: GraphChange) -> bool:
    """Whether it could be done."""
    match row.verb:
        case Verb.RELATION:
            relations.changed(row.follower_id)
        case Verb.LIKES:
            relations.likes_changed(row.follower_id)
            return not row.row or row_cache.changed(rows.PHOTOS.name, row.row)
        case Verb.DELETED:
            return _remove_photo(row)
        case Verb.AUTHOR:
            user: Any = row.follower_id
            if not get_user_model()._base_manager.using(database.writer()).filter(pk=user).exists():
                followers.forget(user)
            return row_cache.changed(rows.AUTHORS.name, user)
        case Verb.CIRCLE:
            projection.forget(row.row)
        case Verb.UNFOLLOW:
            followers.apply(row.followee_id, [Change("unfollow", row.follower_id, row.row)])
            relations.drop_feeds(row.follower_id)
        case _:
            # Those that are gone again have an unfollow of their own.
            made = database.primary(Follow)
            made = made.filter(followee=row.followee_id, id__gte=row.row, id__lte=row.last_row)
            there = made.order_by("id").values_list("follower_id", "id")
            followers.apply(
                row.followee_id,
                (Change("follow", user, id_) for user, id_ in there.iterator(chunk_size=1_000)),
            )
    return True


def _remove_photo(row: GraphChange) -> bool:
    """Each step once: a file that cannot be removed must not send the removal from the lists again and
    again."""
    if row.last_row != FILE_IS_LEFT:
        photo, author = row.row, row.followee_id
        if not row_cache.changed(rows.PHOTOS.name, photo):
            return False
        delivery.cancel(photo, author)
        if not broker.send_by_name("remove_from_homefeed", photo, broker.plain(author), 0):
            return False
    if _remove_file(row.file):
        return True
    database.primary(GraphChange).filter(pk=row.pk).update(last_row=FILE_IS_LEFT)
    return False


def _remove_file(file: str) -> bool:
    if not file:
        return True
    try:
        Photo._meta.get_field("image").storage.delete(file)
    except Exception as error:  # each storage raises its own
        logger.error("the file %s of a deleted photo is still there: %s", file, error)
        return False
    return True
