"""The ledger of fan-outs: begin, carry on, finish, rescue, and how far one has come.

SQL says which photos are to be carried and which have been; Redis says how far a running one is.
This module keeps the two in step and is all that the tasks call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import F, Q
from django.utils import timezone

from .conf import conf
from .exceptions import FeedError
from .homefeed import delivery, followers
from .homefeed.delivery import Claim, Status, Verdict
from .models import FanOut, Photo

logger = logging.getLogger(__name__)

Enqueue = Callable[[int, Any, int], bool]
"""Sends `insert_into_homefeed(photo, user, cursor)` to the broker."""

RESCUES_AT_ONCE = 1_000


def open_for(photo: Photo) -> FanOut:
    """The fan-out of a new photo, to be written in the photo's own transaction."""
    return FanOut.objects.create(photo=photo)


def carry(photo: int, user: object, cursor: int, *, redelivered: bool, enqueue: Enqueue) -> bool:
    """One link of the chain: serves a batch of followers; True if the author's list wants compaction.

    May be called with the same arguments any number of times, one after the other or at once:
    each follower gets the photo once, and the chain goes on once. `cursor` only names the link, where
    to go on is what Redis says. Raises `FeedsUnavailable` and `FeedsRefused`, with nothing lost.
    """
    author = user
    batch = delivery.claim(photo, author, cursor, redelivered=redelivered)
    while True:
        if batch.verdict is Verdict.DUPLICATE:
            return False
        if batch.verdict is Verdict.ENDED:
            return _finish(photo, author)
        if batch.verdict is Verdict.ABSENT:
            row = _row_to_begin(photo)
            if row is None:
                return False
            author = row.photo.user_id
            if str(author) != str(user):
                logger.warning(
                    "photo %s is of user %s, not %s: serving its author's followers", photo, author, user
                )
            has_followers = followers.ensure(author)
            if has_followers and _is_pulled(photo, author):
                return followers.compaction_is_due(author)
            batch = delivery.claim(
                photo,
                author,
                cursor,
                redelivered=redelivered,
                create=True,
                guard=row.state != FanOut.State.WAITING,
                has_followers=has_followers,
            )
            if not batch.granted:
                continue
        if batch.verdict is not Verdict.NEXT and not _count_attempt(photo):
            return False
        if batch.ledger_due and not _record(photo):
            delivery.cancel(photo)  # ended meanwhile: its photo was deleted while Redis was away
            return False
        status = delivery.serve(photo, author, batch, partial(enqueue, photo, author))
        if status is Status.OVER:
            return False
        batch = _unclaimed(Verdict.ENDED if status is Status.ENDED else Verdict.ABSENT)


def _unclaimed(verdict: Verdict) -> Claim:
    return Claim(verdict, 0, 0, ledger_due=False)


def _row_to_begin(photo: int) -> FanOut | None:
    """The row of a fan-out that Redis knows nothing of, None if nothing is to be carried."""
    try:
        truth = Photo.objects.get(id=photo)
    except Photo.DoesNotExist:
        cancelled = _close(photo, FanOut.State.CANCELLED)
        delivery.cancel(photo)
        logger.info("photo %s is not there (any more)%s", photo, ": cancelled" if cancelled else "")
        return None
    row, _ = FanOut.objects.get_or_create(photo=truth)
    row.photo = truth
    return row if row.is_open else None


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
    Photo.objects.filter(id=photo).update(pulled=True)
    delivery.note_pulled(photo)
    _close(photo, FanOut.State.DONE, cursor=total, reached=total, total=total, started_at=timezone.now())
    return True


def _count_attempt(photo: int) -> bool:
    """Notes a start before the work begins, so that work which kills its worker cannot go on for ever.

    False if it was one too many: the fan-out has then been given up as failed.
    """
    seen = delivery.progress(photo)
    cursor = seen.cursor if seen else 0
    now = timezone.now()
    row = FanOut.objects.filter(photo_id=photo, state__in=FanOut.OPEN)
    got_further = Q(cursor__lt=cursor)
    row.filter(got_further).update(attempts=0)
    row.filter(started_at=None).update(started_at=now)
    row.update(state=FanOut.State.RUNNING, cursor=cursor, heartbeat_at=now, attempts=F("attempts") + 1)
    attempts = row.values_list("attempts", flat=True).first()
    if attempts is None:
        delivery.cancel(photo)
        return False
    if attempts > conf.MAX_ATTEMPTS:
        _close(photo, FanOut.State.FAILED, last_error=f"gave up after {attempts - 1} starts without progress")
        delivery.cancel(photo)
        logger.error(
            "fan-out of photo %s failed: %d starts without progress, %d followers served",
            photo,
            attempts - 1,
            cursor,
        )
        return False
    return True


def _record(photo: int) -> bool:
    """Copies Redis's figures into the ledger row; False if it is not open."""
    open_row = FanOut.objects.filter(photo_id=photo, state__in=FanOut.OPEN)
    return bool(open_row.update(heartbeat_at=timezone.now(), **_figures(photo)))


def _finish(photo: int, author: object) -> bool:
    """Enters the end of a fan-out in the ledger. True if the author's list wants compaction."""
    first = _close(photo, FanOut.State.DONE, **_figures(photo))
    delivery.retire(photo)
    return first and followers.compaction_is_due(author)


def _figures(photo: int) -> dict[str, int]:
    seen = delivery.progress(photo)
    return {"cursor": seen.cursor, "reached": seen.reached, "total": seen.total} if seen else {}


def _close(photo: int, state: FanOut.State, **fields: Any) -> bool:
    now = timezone.now()
    return bool(
        FanOut.objects.filter(photo_id=photo, state__in=FanOut.OPEN).update(
            state=state, finished_at=now, heartbeat_at=now, **{"last_error": "", **fields}
        )
    )


def note_error(photo: int, error: Exception) -> None:
    """Keeps the last error with the fan-out, for admin and progress."""
    FanOut.objects.filter(photo_id=photo, state__in=FanOut.OPEN).update(last_error=str(error)[:2000])


def cancel(photo: int) -> None:
    """Ends the fan-out of a deleted photo. If Redis is down its next task finds the photo gone."""
    _close(photo, FanOut.State.CANCELLED)
    try:
        delivery.cancel(photo)
    except FeedError as error:
        logger.warning("photo %s: %s", photo, error)


def rescue(enqueue: Enqueue) -> int:
    """Enqueues again what waits or stands still for longer than the lease; returns how many.

    Any number may run at once: each stalled fan-out is claimed by a conditional UPDATE.
    One whose Redis state is alive is only noted. Raises `FeedsUnavailable`.
    """
    now = timezone.now()
    stalled_before = now - timedelta(seconds=conf.LEASE_SECONDS)
    stalled = FanOut.objects.filter(state__in=FanOut.OPEN).filter(
        Q(heartbeat_at__lt=stalled_before) | Q(heartbeat_at=None, created_at__lt=stalled_before)
    )
    rescued = 0
    for row in stalled.select_related("photo").order_by("id")[:RESCUES_AT_ONCE]:
        claimed = FanOut.objects.filter(id=row.id, state=row.state, heartbeat_at=row.heartbeat_at)
        if not claimed.update(heartbeat_at=now):
            continue
        author = Photo.objects.filter(id=row.photo_id).values_list("user_id", flat=True).first()
        if author is None:
            cancel(row.photo_id)
            continue
        seen = delivery.progress(row.photo_id)
        if seen and seen.idle < conf.LEASE_SECONDS and not seen.ended:
            continue
        logger.warning("photo %s stood still at %d: enqueued again", row.photo_id, seen.cursor if seen else 0)
        enqueue(row.photo_id, author, seen.cursor if seen else 0)
        rescued += 1
    return rescued


@dataclass(frozen=True)
class Standing:
    """How far a fan-out is. `lag_seconds`: from the upload to the end, or to now while it is open."""

    photo: int
    state: str
    reached: int
    total: int
    refused: int
    started_at: datetime | None
    finished_at: datetime | None
    lag_seconds: float

    @property
    def running_seconds(self) -> float:
        """From the first batch to the end, or to now."""
        if self.started_at is None:
            return 0.0
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds()


def standing(row: FanOut, uploaded_at: datetime) -> Standing:
    """The ledger's figures, and for a running one Redis's, which are newer."""
    reached, total, refused = row.reached, row.total, 0
    if row.is_open:
        try:
            if seen := delivery.progress(row.photo_id):
                reached, total, refused = seen.reached, seen.total, seen.refused
        except FeedError as error:
            logger.warning("progress of photo %s from the ledger only: %s", row.photo_id, error)
    until = row.finished_at or timezone.now()
    return Standing(
        photo=row.photo_id,
        state=row.state,
        reached=reached,
        total=total,
        refused=refused,
        started_at=row.started_at,
        finished_at=row.finished_at,
        lag_seconds=round((until - uploaded_at).total_seconds(), 3),
    )


def open_ones() -> Iterator[Standing]:
    """Every fan-out that has not ended, oldest first."""
    for row in FanOut.objects.filter(state__in=FanOut.OPEN).order_by("id").iterator(chunk_size=500):
        yield standing(row, row.created_at)
