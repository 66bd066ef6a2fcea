"""What becomes of fan-outs whose message, worker or Redis vanished, of those that have ended, and of
those that were given up.

Any number of processes may do each of these at once: a row is claimed by a conditional UPDATE.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from more_itertools import batched

from .. import domain_events
from ..conf import conf
from ..connections import database
from ..exceptions import FeedsRefused
from ..homefeed import delivery, queue
from ..homefeed.delivery import Progress
from ..models import FanOut, Photo
from .chain import Enqueue, cancel

logger = logging.getLogger(__name__)

AT_ONCE = 1_000  # rows


def rescue(enqueue: Enqueue, *, by_hand: bool = False, look_again: Callable[[], object] | None = None) -> int:
    """Enqueues again what waits or stands still for longer than the lease and has lost its message; returns
    how many. Each goes on where Redis says.

    One whose Redis state is alive is only noted. One whose message may still be in the broker's queue is left
    alone (`_Look`), unless somebody asks for it by hand. `look_again` is called when one was enqueued to see
    whether a worker takes it. Raises `FeedsUnavailable`; what is left then is looked at the next time.
    """
    now = timezone.now()
    stalled_before = now - timedelta(seconds=conf.LEASE_SECONDS)
    stalled = (
        database.primary(FanOut)
        .filter(state__in=FanOut.OPEN, finished_at=None)
        .filter(Q(heartbeat_at__lt=stalled_before) | Q(heartbeat_at=None, created_at__lt=stalled_before))
    )
    rows = list(stalled.order_by("id")[:AT_ONCE])
    if not rows:
        return 0
    look = _Look(queue.look(), now, len(rows))
    authors = _authors(row.photo_id for row in rows)
    rescued = left = 0
    for row in rows:
        seen = _progress(row.photo_id) if row.state == FanOut.State.RUNNING else None
        is_there = row.photo_id in authors
        is_alive = seen is not None and 0 <= seen.idle < conf.LEASE_SECONDS and seen.ended is None
        if is_there and not is_alive and not by_hand and not look.has_lost_its_message(row, seen):
            left += 1
            continue
        claimed = database.primary(FanOut).filter(id=row.id, state=row.state, heartbeat_at=row.heartbeat_at)
        if not claimed.update(heartbeat_at=now):
            continue
        if not is_there:
            cancel(row.photo_id)
        if not is_there or is_alive:
            continue
        seen = seen or _progress(row.photo_id)
        logger.warning("photo %s stood still at %d: enqueued again", row.photo_id, seen.cursor if seen else 0)
        enqueue(row.photo_id, authors[row.photo_id], seen.cursor if seen else 0)
        rescued += 1
    if look.has_probed:
        queue.note_probe()
        if look_again and left:
            look_again()
    return rescued


class _Look:
    """One look at the stalled: tells a message that was lost from one that is merely queued.

    Queues are first in, first out. So a message is lost if one that was sent a lease later has been taken.
    If none has been taken for a lease, workers or messages are gone: then one fan-out, or the few there
    are, is enqueued as a probe, each time after twice the pause. When a worker takes it, it has overtaken
    all that were lost.
    """

    OVERDUE = 32  # leases; enqueued again whatever the queue looks like
    FEW = 3

    def __init__(self, at: queue.Queue, now: datetime, stalled: int) -> None:
        self._lease = conf.LEASE_SECONDS
        self._now = now.timestamp()
        # A sender whose clock is ahead must not keep all others waiting.
        self._front = min(at.front, self._now)
        is_moving = at.idle is not None and 0 <= at.idle < self._lease
        pause = self._lease * min(2 ** min(at.probes, 5), self.OVERDUE) if at.probes else 0.0
        is_asked = 0 <= at.probed < pause
        self._probes = 0 if is_moving or is_asked else stalled if stalled <= self.FEW else 1
        self.has_probed = False

    def has_lost_its_message(self, row: FanOut, seen: Progress | None) -> bool:
        queued = (row.heartbeat_at or row.created_at).timestamp()
        if seen:
            queued = max(queued, seen.beat)
        if queued + self._lease < self._front or queued + self.OVERDUE * self._lease < self._now:
            return True
        if not self._probes:
            return False
        self._probes -= 1
        self.has_probed = True
        return True


@dataclass(frozen=True)
class Settled:
    """`authors`: whose fan-outs are done now. `reopened`: how many go on, because Redis lost their end.
    `more`: whether some have ended and are not settled yet."""

    authors: list[Any]
    reopened: int
    more: bool


def settle(enqueue: Enqueue) -> Settled:
    """Says `done` of fan-outs whose end Redis has held for `SETTLE_SECONDS`, and enqueues again those whose
    end it has lost in a crash. Raises `FeedsUnavailable`. One round trip per 1,000."""
    ended = database.primary(FanOut).filter(state__in=FanOut.OPEN).exclude(finished_at=None)
    photos = list(ended.order_by("finished_at").values_list("photo_id", flat=True)[:AT_ONCE])
    if not photos:
        return Settled([], 0, more=False)
    ages = dict(zip(photos, delivery.ended_for(photos), strict=True))
    held = [photo for photo, age in ages.items() if age is not None and age >= conf.SETTLE_SECONDS]
    lost = [photo for photo, age in ages.items() if age is None]
    # In this order: a crash in between must not leave a hash that nobody lets go.
    delivery.retire(held)
    authors = _authors([*held, *lost])
    with database.atomic():
        now_done = list(ended.select_for_update().filter(photo_id__in=held).order_by("id"))
        database.primary(FanOut).filter(id__in=[row.pk for row in now_done]).update(
            state=FanOut.State.DONE, last_error=""
        )
        domain_events.fanouts_finished(now_done, authors)
    reopened = 0
    for photo in lost:
        if not ended.filter(photo_id=photo).update(finished_at=None, heartbeat_at=timezone.now()):
            continue
        if photo not in authors:
            cancel(photo)
            continue
        logger.warning("photo %s: Redis has lost the end of its fan-out, it goes on", photo)
        seen = _progress(photo)
        enqueue(photo, authors[photo], seen.cursor if seen else 0)
        reopened += 1
    done = dict.fromkeys(authors[photo] for photo in held if photo in authors)
    more = len(held) + len(lost) < len(photos) or len(photos) == AT_ONCE
    return Settled(list(done), reopened, more)


def retry(enqueue: Enqueue, photos: Iterable[int] | None = None) -> list[int]:
    """Begins fan-outs again that were given up; of these photos, or all. Returns the photos.

    Who has the photo already does not get it again. A message that the broker does not take now is sent
    by the rescue when the lease is over.
    """
    failed = database.primary(FanOut).filter(state=FanOut.State.FAILED)
    chosen = failed.values_list("photo_id", flat=True).order_by("id").iterator(AT_ONCE)
    begun = []
    for some in batched(list(chosen) if photos is None else photos, AT_ONCE):
        authors = _authors(some)
        for photo in some:
            if photo not in authors:
                cancel(photo)
            elif failed.filter(photo_id=photo).update(
                state=FanOut.State.RUNNING, attempts=0, finished_at=None, heartbeat_at=timezone.now()
            ):
                enqueue(photo, authors[photo], 0)
                begun.append(photo)
    return begun


def _progress(photo: int) -> Progress | None:
    try:
        return delivery.progress(photo)
    except FeedsRefused as error:
        # Its key is of a wrong type, say: its task will say so in the ledger, and be counted.
        logger.error("photo %s: %s", photo, error)
        return None


def _authors(photos: Iterable[int]) -> dict[int, Any]:
    """The authors of those photos that are there."""
    return dict(database.primary(Photo).filter(id__in=list(photos)).values_list("id", "user_id"))
