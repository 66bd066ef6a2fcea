"""What becomes of fan-outs whose message, worker or Redis vanished, and of those that were given up.

Any number of processes may do each of these at once: a row is claimed by a conditional UPDATE.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from more_itertools import batched

from ..conf import conf
from ..connections.paging import in_pages
from ..exceptions import FeedsRefused
from ..homefeed import delivery, keys, queue, turns
from ..homefeed.delivery import Counters
from ..homefeed.feeds_redis import unless_its_node_is_away
from ..models import FanOut, UserId
from . import ledger
from .chain import Enqueue

logger = logging.getLogger(__name__)

ROWS = 1_000


@dataclass(frozen=True)
class Rescued:
    """`enqueued`: how many fan-outs. `look_again`: whether to come back in a moment, to see if a worker has
    taken what was enqueued as a probe."""

    enqueued: int = 0
    look_again: bool = False


def is_wanted() -> bool:
    """True for one caller a second. One round trip."""
    return turns.begin(keys.rescuing(), 1.0)


def rescue(enqueue: Enqueue, *, by_hand: bool = False) -> Rescued:
    """Enqueues again what waits or stands still for longer than the lease and has lost its message. Each goes
    on where Redis says.

    Leaves alone what Redis has as alive, and what may still have a message in the broker's queue (`_Look`),
    unless somebody asks by hand. Raises `FeedsUnavailable`; what is left then is looked at the next time.
    """
    now = timezone.now()
    silent = ledger.rows().silent_since(now - timedelta(seconds=conf.LEASE_SECONDS))
    rows = list(silent.order_by("id")[:ROWS])
    if not rows:
        return Rescued()
    author_ids = ledger.authors(row.photo_id for row in rows)
    look = _Look(_queue(), now, len(rows), by_hand=by_hand)
    enqueued = left = 0
    counters_of = dict(zip(author_ids, delivery.counters(list(author_ids.items())), strict=True))
    for row in rows:
        counters = counters_of.get(row.photo_id)
        if row.photo_id not in author_ids:
            ledger.cancel(row.photo_id, row.author_id)
        elif counters and counters.ended is not None:
            _note_end(row.photo_id, author_ids[row.photo_id], counters.ended)
        elif counters and 0 <= counters.idle < conf.LEASE_SECONDS:
            ledger.record(counters)
        elif not look.has_lost_its_message(row, counters):
            left += 1
        elif ledger.rows().claim_for_rescue(row, now):
            cursor = counters.cursor if counters else 0
            logger.warning("photo %s stood still at %d: enqueued again", row.photo_id, cursor)
            enqueue(row.photo_id, author_ids[row.photo_id], cursor)
            enqueued += 1
    if look.has_probed:
        with unless_its_node_is_away("the probe is not noted"):
            queue.note_probe()
    return Rescued(enqueued, look_again=look.has_probed and left > 0)


def _queue() -> queue.Queue:
    """How far the queue has come; where nobody knows, as if no message had ever been taken, so that there are
    probes."""
    with unless_its_node_is_away("nobody knows how far the queue is"):
        return queue.look()
    return queue.UNKNOWN


def _note_end(photo_id: int, author_id: UserId, ended: float) -> None:
    """What cannot be noted must not keep the others from being rescued."""
    try:
        with unless_its_node_is_away(f"photo {photo_id} has ended and is settled later"):
            delivery.note_end(photo_id, author_id, ended)
    except FeedsRefused as error:
        logger.error("photo %s has ended and cannot be settled: %s", photo_id, error)


class _Look:
    """One look at the stalled: tells a message that was lost from one that is merely queued.

    Queues are first in, first out. So a message is lost if one that was sent a lease later has been taken.
    If none has been taken for a lease, workers or messages are gone: then one fan-out, or all if there are
    few, is enqueued as a probe, each time after twice the pause. When a worker takes it, it has overtaken
    all that were lost.
    """

    OVERDUE = 32  # leases; enqueued again whatever the queue looks like
    FEW = 3

    def __init__(self, at: queue.Queue, now: datetime, stalled: int, *, by_hand: bool) -> None:
        self._by_hand = by_hand
        self._lease = conf.LEASE_SECONDS
        self._now = now.timestamp()
        # A sender whose clock is ahead must not keep all others waiting.
        self._front = min(at.front, self._now)
        is_moving = at.idle is not None and 0 <= at.idle < self._lease
        pause = self._lease * min(2 ** min(at.probes, 5), self.OVERDUE) if at.probes else 0.0
        is_asked = 0 <= at.probed < pause
        self._probes = 0 if is_moving or is_asked else stalled if stalled <= self.FEW else 1
        self.has_probed = False

    def has_lost_its_message(self, row: FanOut, counters: Counters | None) -> bool:
        if self._by_hand:
            return True
        queued = (row.heartbeat_at or row.created_at).timestamp()
        if counters:
            queued = max(queued, counters.beat)
        if queued + self._lease < self._front or queued + self.OVERDUE * self._lease < self._now:
            return True
        if not self._probes:
            return False
        self._probes -= 1
        self.has_probed = True
        return True


def retry(enqueue: Enqueue, photo_ids: Iterable[int] | None = None) -> list[int]:
    """Begins fan-outs again that were given up: of these photos, or all. Returns the photos.

    Followers who have the photo already do not get it again. If the broker does not take a message now, the
    rescue sends it when the lease is over.
    """
    begun: list[int] = []
    for some_ids in _failed() if photo_ids is None else batched(photo_ids, ROWS):
        author_ids = ledger.authors(some_ids)
        for photo_id in some_ids:
            if photo_id not in author_ids:
                ledger.cancel(photo_id, None)
            elif ledger.rows().of(photo_id).begin_again():
                ledger.clear_away(photo_id, author_ids[photo_id])  # with the attempts that are counted there
                enqueue(photo_id, author_ids[photo_id], 0)
                begun.append(photo_id)
    return begun


def _failed() -> Iterable[list[int]]:
    for page in in_pages(ledger.rows().failed().values_list("pk", "photo_id"), size=ROWS):
        yield [photo_id for _, photo_id in page]
