"""The ledger of fan-outs: begin, carry on, end, cancel.

SQL says which photos are to be carried and which have been; Redis says how far a running one is.
This module keeps the two in step. What becomes of those whose worker vanished is in `rescue.py`, how
far one has come in `standing.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from django.db.models import F, Q
from django.utils import timezone

from .. import domain_events, failpoints
from ..conf import conf
from ..connections import database
from ..exceptions import FeedError, PhotoIdTooLarge
from ..homefeed import delivery, followers
from ..homefeed.delivery import Claim, Status, Verdict
from ..models import FanOut, Photo

logger = logging.getLogger(__name__)

Enqueue = Callable[[int, Any, int], bool]
"""Sends `insert_into_homefeed(photo, user, cursor)` to the broker."""


def open_for(photo: Photo) -> FanOut:
    """The fan-out of a new photo, to be written in the photo's own transaction.

    Raises `PhotoIdTooLarge`.
    """
    if problem := _id_problem(photo.pk):
        raise PhotoIdTooLarge(problem)
    return FanOut.objects.create(photo=photo)


def _id_problem(photo: int) -> str:
    """Why a photo with this id cannot be carried; empty if it can."""
    if photo <= delivery.LARGEST_ID:
        return ""
    return (
        f"Photo {photo} has an id above {delivery.LARGEST_ID}, the largest that feeds can hold. "
        "Let ids grow from below, one by one."
    )


def carry(
    photo: int, user: object, cursor: int, *, redelivered: bool, enqueue: Enqueue, sent_at: float = 0.0
) -> bool:
    """One link of the chain: serves a batch of followers; True if nobody is left to serve.

    May be called with the same arguments any number of times, one after the other or at once:
    each follower gets the photo once, and the chain goes on once. `cursor` only names the link, where
    to go on is what Redis says. `sent_at`: when the message was sent, in seconds since 1970, 0 if that is
    not known. Raises `FeedsUnavailable` and `FeedsRefused`, with nothing lost.
    """
    author = user
    batch = delivery.claim(photo, author, cursor, redelivered=redelivered, sent_at=sent_at)
    while True:
        if batch.verdict is Verdict.DUPLICATE:
            return False
        if batch.verdict is Verdict.ENDED:
            _note_end(photo)
            return True
        if batch.verdict is Verdict.ABSENT:
            row, made = _row_to_begin(photo)
            if row is None:
                return False
            author = row.photo.user_id
            if str(author) != str(user):
                logger.warning(
                    "photo %s is of user %s, not %s: serving its author's followers", photo, author, user
                )
            has_followers = followers.ensure(author)
            if has_followers and _is_pulled(photo, author):
                return True
            batch = delivery.claim(
                photo,
                author,
                cursor,
                redelivered=redelivered,
                create=True,
                guard=made or _is_late(row),
                has_followers=has_followers,
            )
            if not batch.granted:
                continue
        if batch.verdict is not Verdict.NEXT and not _count_attempt(photo, author):
            return False
        if batch.ledger_due and not _record(photo):
            delivery.cancel(photo)  # ended meanwhile: its photo was deleted while Redis was away
            return False
        failpoints.reach("claimed", photo)
        status = delivery.serve(photo, author, batch, partial(enqueue, photo, author))
        if status is Status.OVER:
            return False
        batch = _unclaimed(Verdict.ENDED if status is Status.ENDED else Verdict.ABSENT)


def _unclaimed(verdict: Verdict) -> Claim:
    return Claim(verdict, 0, 0, ledger_due=False)


def _is_late(row: FanOut) -> bool:
    """Whether followers may have the photo: from an earlier run, or a list built from SQL long ago."""
    age = (timezone.now() - row.created_at).total_seconds()
    return row.state != FanOut.State.WAITING or not 0 <= age < delivery.GUARD_AFTER


def _row_to_begin(photo: int) -> tuple[FanOut | None, bool]:
    """The row of a fan-out that Redis knows nothing of, None if nothing is to be carried; and whether it was
    made just now, for a photo that was written past `uploads`."""
    try:
        truth = database.primary(Photo).get(id=photo)
    except Photo.DoesNotExist:
        cancelled = _close(photo, FanOut.State.CANCELLED)
        delivery.cancel(photo)
        logger.info("photo %s is not there (any more)%s", photo, ": cancelled" if cancelled else "")
        return None, False
    row, made = database.primary(FanOut).filter(photo=truth).first(), False
    if row is None and timezone.now() - truth.created_at > timedelta(days=conf.KEEP_FANOUTS):
        logger.info("photo %s is older than the ledger: it has been carried", photo)
        return None, False
    if row is None:
        row, made = FanOut.objects.get_or_create(photo=truth)
    row.photo = truth
    if (problem := _id_problem(photo)) and row.is_open:
        _give_up(photo, truth.user_id, problem)
        return None, made
    return (row if row.is_open else None), made


def _is_pulled(photo: int, author: object) -> bool:
    """Leaves the photo to the readers if its author has too many followers to push to.

    That is noted with the photo, so that it is found whatever becomes of the setting and the author.
    """
    most = conf.PULL_ABOVE
    # The list's length first, as it costs nothing; it counts those who have left, too.
    if (
        most is None
        or (total := followers.count(author)) <= most
        or not followers.are_more_than(author, most)
    ):
        return False
    database.primary(Photo).filter(id=photo).update(pulled=True)
    delivery.note_pulled(photo)
    with database.atomic():
        figures = {"cursor": total, "reached": total, "total": total, "started_at": timezone.now()}
        if _close(photo, FanOut.State.DONE, **figures):
            domain_events.fanouts_finished(database.primary(FanOut).filter(photo_id=photo), {photo: author})
    return True


def _count_attempt(photo: int, author: object) -> bool:
    """Notes a start before the work begins, so that work which kills its worker cannot go on for ever.

    False if it was one too many: the fan-out has then been given up as failed.
    """
    seen = delivery.progress(photo)
    cursor = seen.cursor if seen else 0
    now = timezone.now()
    row = database.primary(FanOut).filter(photo_id=photo, state__in=FanOut.OPEN)
    got_further = Q(cursor__lt=cursor)
    row.filter(got_further).update(attempts=0)
    row.filter(started_at=None).update(started_at=now)
    # In one statement, so that two who begin at once cannot both be the last.
    begun = row.filter(attempts__lt=conf.MAX_ATTEMPTS).update(
        state=FanOut.State.RUNNING,
        cursor=cursor,
        heartbeat_at=now,
        finished_at=None,
        attempts=F("attempts") + 1,
    )
    if begun:
        return True
    starts = conf.MAX_ATTEMPTS
    _give_up(photo, author, f"gave up after {starts} starts without progress, {cursor:,} followers served")
    return False


def _give_up(photo: int, author: object, why: str) -> None:
    """Ends a fan-out as failed and clears away what Redis holds of it, so that the author's follower list can
    be compacted and repaired. If Redis is away, what comes across it later does that."""
    if _close(photo, FanOut.State.FAILED, last_error=why):
        logger.error("fan-out of photo %s failed: %s", photo, why)
    try:
        delivery.cancel(photo, author)
    except FeedError as error:
        logger.warning("photo %s: %s", photo, error)


def _record(photo: int) -> bool:
    """Copies Redis's figures into the ledger row; False if it is not open."""
    open_row = database.primary(FanOut).filter(photo_id=photo, state__in=FanOut.OPEN)
    return bool(open_row.update(heartbeat_at=timezone.now(), **_figures(photo)))


def _note_end(photo: int) -> None:
    """Enters in the ledger that nobody is left to serve. `done` is said by `rescue.settle`, when that has
    lasted: a crash of Redis may take it back."""
    seen = delivery.progress(photo)
    if seen is None or seen.ended is None:
        return  # taken back already: the rescue will see
    noted = (
        database.primary(FanOut)
        .filter(photo_id=photo, state__in=FanOut.OPEN)
        .update(
            state=FanOut.State.RUNNING,
            finished_at=seen.ended_at,
            heartbeat_at=timezone.now(),
            cursor=seen.cursor,
            reached=seen.reached,
            total=seen.total,
        )
    )
    if not noted:
        delivery.retire([photo])


def _figures(photo: int) -> dict[str, int]:
    seen = delivery.progress(photo)
    return {"cursor": seen.cursor, "reached": seen.reached, "total": seen.total} if seen else {}


def _close(photo: int, state: FanOut.State, **fields: Any) -> bool:
    now = timezone.now()
    return bool(
        database.primary(FanOut)
        .filter(photo_id=photo, state__in=FanOut.OPEN)
        .update(state=state, finished_at=now, heartbeat_at=now, **{"last_error": "", **fields})
    )


def count_refusal(photo: int, author: object) -> None:
    """Counts a message that Redis refused to the end: a key of a wrong type will not heal by itself."""
    row = database.primary(FanOut).filter(photo_id=photo, state__in=FanOut.OPEN)
    row.update(attempts=F("attempts") + 1, heartbeat_at=timezone.now())
    attempts, error = row.values_list("attempts", "last_error").first() or (0, "")
    if attempts > conf.MAX_ATTEMPTS:
        _give_up(photo, author, f"Redis refused it {attempts} times: {error}")


def note_error(photo: int, error: Exception) -> None:
    """Keeps the last error with the fan-out, for admin and progress."""
    database.primary(FanOut).filter(photo_id=photo, state__in=FanOut.OPEN).update(
        last_error=str(error)[:2000]
    )


def close_deleted(photo: int) -> None:
    """Enters in the ledger that the photo is deleted, in the transaction that does it."""
    database.primary(FanOut).filter(photo_id=photo, state=FanOut.State.FAILED).update(
        state=FanOut.State.CANCELLED
    )
    _close(photo, FanOut.State.CANCELLED)


def cancel(photo: int) -> None:
    """Ends the fan-out of a deleted photo. If Redis is down it may run to its end all the same; the worker
    that carries it then takes the photo out again."""
    close_deleted(photo)
    try:
        delivery.cancel(photo)
    except FeedError as error:
        logger.warning("photo %s: %s", photo, error)
