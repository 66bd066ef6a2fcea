"""Brings committed changes into Redis, cache and storage: at once on commit, or else some seconds later.

Each change is a row of the transaction that makes it. What was applied leaves a receipt in Redis. A change
without one is applied again when it has settled: its process died right after the commit, Redis was away, or
lost its last second in a crash (AOF everysec), and the receipt with it. Every change may be applied any
number of times, in any order (`homefeed/followers.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial

from django.contrib.auth import get_user_model
from django.utils import timezone
from more_itertools import batched

from .circles import projection
from .conf import conf
from .connections import broker, database
from .connections.paging import in_pages
from .connections.patience import Budget
from .exceptions import FeedError, FeedsRefused, FeedsUnavailable
from .homefeed import delivery, followers, keys, receipts, relations, turns
from .homefeed.feeds_redis import store
from .homefeed.followers import Change
from .models import Follow, PendingChange, UserId, get_photo_model
from .photos import row_cache, rows

logger = logging.getLogger(__name__)

ROWS_PER_QUERY = 200
IMPORTED_PER_QUERY = 10_000
USERS_PER_CALL = 500  # of whom one call drops up to 2,000 keys
TURN_SECONDS = 10.0  # a process that has died while it emptied the outbox keeps others from it for so long
CLOCKS_SECONDS = 600.0  # by which the clocks of web servers and Redis may differ
Verb = PendingChange.Verb


def note_changes(author_id: UserId, changes: Sequence[Change]) -> list[int]:
    """Writes down changes of one author's followers in the transaction that makes them; returns the ids of
    the rows, for `settled`."""
    unfollows = [
        PendingChange(
            verb=Verb.UNFOLLOW, user_id=change.follower_id, author_id=author_id, follow_id=change.follow_id
        )
        for change in changes
        if change.verb == "unfollow"
    ]
    if follow_ids := [change.follow_id for change in changes if change.verb == "follow"]:
        first, last = min(follow_ids), max(follow_ids)
        follows = PendingChange(verb=Verb.FOLLOW, author_id=author_id, follow_id=first, last_follow_id=last)
        return [row.pk for row in write([*unfollows, follows])]
    return [row.pk for row in write(unfollows)]


def note_relation(*user_ids: UserId) -> list[int]:
    """Writes down, in the open transaction, that these users want to see other people than before."""
    return [
        row.pk for row in write(PendingChange(verb=Verb.RELATION, user_id=user_id) for user_id in user_ids)
    ]


def settled(row_ids: Sequence[int], at: str) -> None:
    """Notes in Redis that it has the changes of these rows; `at` is what `receipts.where` said before they
    were applied. Raises `FeedsUnavailable`, `FeedsRefused`."""
    if row_ids:
        receipts.give(row_ids, at)


def photos_changed(*photo_ids: int) -> None:
    """Voids what is cached of these photos, when the transaction that changes them commits."""
    _change(PendingChange(verb=Verb.PHOTO, photo_id=photo_id) for photo_id in photo_ids)


def photo_deleted(photo_id: int, author_id: UserId, file: str) -> None:
    """Hides the photo, ends its fan-out, takes it out of the lists in the background and removes its file,
    when the transaction that deletes it commits."""
    _change([PendingChange(verb=Verb.DELETED, photo_id=photo_id, author_id=author_id, file=file)])


def files_left(files: Iterable[str]) -> None:
    """Has files removed some seconds after the transaction commits."""
    write(PendingChange(verb=Verb.FILE, file=file) for file in files)


def like_changed(user_id: UserId, photo_id: int) -> None:
    """Shows the new count, and whether the user likes the photo, when the transaction commits."""
    _change([PendingChange(verb=Verb.LIKES, user_id=user_id, photo_id=photo_id)])


def author_changed(user_id: UserId) -> None:
    """Shows a user's new name when the transaction commits; of a deleted user, drops what Redis has."""
    _change([PendingChange(verb=Verb.AUTHOR, user_id=user_id)])


def follows_imported(first_follow_id: int, last_follow_id: int) -> None:
    """Drops the lists that lack follows with these ids, when the transaction that made them commits. They are
    built anew from SQL where they are needed."""
    ids = {"follow_id": first_follow_id, "last_follow_id": last_follow_id}
    _change([PendingChange(verb=Verb.IMPORTED, **ids)])


def circle_deleted(circle_id: int) -> None:
    """Drops what Redis has of the circle, when the transaction that deletes it commits."""
    _change([PendingChange(verb=Verb.CIRCLE, circle_id=circle_id)])


def write(changes: Iterable[PendingChange]) -> list[PendingChange]:
    """Writes rows of the outbox in the open transaction, for `bring_in`."""
    return database.primary(PendingChange).bulk_create(changes)


def _change(changes: Iterable[PendingChange]) -> None:
    database.on_commit(partial(bring_in, write(changes)))


def bring_in(changes: Sequence[PendingChange]) -> None:
    """Applies committed changes. Never raises: `catch_up` does later what cannot be done now."""
    try:
        at = receipts.where()
        settled(_applied(changes), at)
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
    waiting = database.primary(PendingChange).filter(created_at__lt=settled_before)
    number, after = 0, receipts.outbox_position() if budget else 0
    for changes in in_pages(waiting, size=ROWS_PER_QUERY, after=after):
        number += _catch_up_page(changes)
        if budget and budget.is_spent:
            receipts.set_outbox_position(changes[-1].pk)
            return number
    if budget:
        receipts.set_outbox_position(0)
    return number


def _catch_up_page(changes: Sequence[PendingChange]) -> int:
    at = receipts.where(now=True)
    ages = [
        # One from before the row was written is another row's: ids may begin again.
        age if age is not None and age <= _waited(change) + CLOCKS_SECONDS else None
        for change, age in zip(changes, receipts.held_for([change.pk for change in changes], at), strict=True)
    ]
    held = [
        change.pk
        for change, age in zip(changes, ages, strict=True)
        if age is not None and age >= conf.SETTLE_SECONDS
    ]
    # Applied rows stay for now: Redis may lose these receipts, too.
    applied = _applied([change for change, age in zip(changes, ages, strict=True) if age is None])
    settled(applied, at)
    if held and receipts.are_kept(at):
        database.primary(PendingChange).filter(id__in=held).delete()
        receipts.forget(held, at)
    return len(applied)


def _waited(change: PendingChange) -> float:
    return (timezone.now() - change.created_at).total_seconds()


def _applied(changes: Sequence[PendingChange]) -> list[int]:
    """Applies changes; returns the ids of the rows that could be applied."""
    row_ids = []
    photos = [change for change in changes if change.verb == Verb.PHOTO]
    if photos and row_cache.changed(rows.PHOTOS.name, *(change.photo_id for change in photos)):
        row_ids += [change.pk for change in photos]
    away: list[PendingChange] = []
    for change in changes:
        try:
            if change.verb != Verb.PHOTO and _apply(change):
                row_ids.append(change.pk)
        except FeedsRefused as error:
            logger.error("%s is not in Redis yet: %s", change, error)
        except FeedsUnavailable:
            if not store().is_cluster:
                raise
            away.append(change)  # a node of several: the next change may be of another
    if away:
        logger.warning("%d changes wait for nodes that do not answer, the first is %s", len(away), away[0])
    return row_ids


def _apply(change: PendingChange) -> bool:
    """Returns whether everything could be done."""
    user_id: UserId = change.user_id
    author_id: UserId = change.author_id
    follow_id, photo_id = change.follow_id or 0, change.photo_id or 0  # set where the verb has one
    match change.verb:
        case Verb.RELATION:
            relations.changed(user_id)
        case Verb.LIKES:
            relations.likes_changed(user_id)
            return row_cache.changed(rows.PHOTOS.name, photo_id)
        case Verb.DELETED:
            return _remove_photo(change)
        case Verb.AUTHOR:
            if not get_user_model()._base_manager.using(database.writer()).filter(pk=user_id).exists():
                followers.forget(user_id)
            return row_cache.changed(rows.AUTHORS.name, user_id)
        case Verb.FILE:
            return _remove_file(change.file)
        case Verb.CIRCLE:
            projection.forget(change.circle_id or 0)
        case Verb.IMPORTED:
            _drop_lists_of_imported(change)
        case Verb.UNFOLLOW:
            # An import numbers its rows before it writes them: one with a lower number may have come since.
            unfollow = Change("unfollow", user_id, follow_id)
            if unfollow.still_holds(author_id):
                followers.apply(author_id, [unfollow])
            relations.drop_feeds(user_id)
        case _:
            followers.apply(author_id, _follows(change))
    return True


def _follows(change: PendingChange) -> Iterator[Change]:
    """The follows that are still there; those that are gone again have an unfollow of their own."""
    made = database.primary(Follow).filter(
        followee=change.author_id, id__gte=change.follow_id, id__lte=change.last_follow_id
    )
    for follower_id, follow_id in made.order_by("id").values_list("follower_id", "id").iterator(1_000):
        yield Change("follow", follower_id, follow_id)


def _drop_lists_of_imported(change: PendingChange) -> None:
    follows = database.primary(Follow).filter(id__gte=change.follow_id, id__lte=change.last_follow_id)
    rows = follows.values_list("id", "followee_id", "follower_id")
    for page in in_pages(rows, size=IMPORTED_PER_QUERY):
        for author_ids in batched({followee_id for _, followee_id, _ in page}, USERS_PER_CALL):
            followers.drop(author_ids)
        for user_ids in batched({follower_id for *_, follower_id in page}, USERS_PER_CALL):
            relations.drop_feeds(*user_ids)


def _remove_photo(change: PendingChange) -> bool:
    """Does each step once: a file that cannot be removed must not start the removal from the lists again and
    again."""
    if not change.only_file_is_left:
        photo_id, author_id = change.photo_id or 0, change.author_id
        if not row_cache.changed(rows.PHOTOS.name, photo_id):
            return False
        delivery.cancel(photo_id, author_id)
        if not broker.send_by_name("remove_from_homefeed", photo_id, broker.plain(author_id), 0):
            return False
    if _remove_file(change.file):
        return True
    database.primary(PendingChange).filter(pk=change.pk).update(only_file_is_left=True)
    return False


def _remove_file(file: str) -> bool:
    if not file:
        return True
    try:
        model = get_photo_model()
        model._meta.get_field(model.FILE_FIELD).storage.delete(file)
    except Exception as error:  # each storage raises its own
        logger.error("the file %s, which no photo needs, is still there: %s", file, error)
        return False
    return True
