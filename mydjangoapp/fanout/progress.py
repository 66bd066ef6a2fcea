"""How far fan-outs have come: the ledger's figures, and Redis's where they are newer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Min
from django.utils import timezone

from ..connections.paging import in_pages
from ..exceptions import FeedError
from ..homefeed import delivery
from ..homefeed.delivery import Counters
from ..models import AbstractPhoto, FanOut, UserId
from . import ledger

logger = logging.getLogger(__name__)

ROWS = 500


@dataclass(frozen=True)
class Progress:
    """How far a fan-out is. `lag_seconds`: from the upload until every follower had it, or to now while
    somebody is left. `finished_at` is set when the end is certain, with the state `done`."""

    photo_id: int
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


def of(row: FanOut, photo: AbstractPhoto) -> Progress:
    """How far the photo's fan-out is. One round trip if it is open; without Redis what the ledger has."""
    [counters] = _counters([row], {photo.pk: photo.author_key})
    return _progress(row, counters, photo.created_at)


def open_ones() -> Iterator[Progress]:
    """Every fan-out that has not ended, oldest first."""
    for rows in in_pages(FanOut.objects.open(), size=ROWS):
        author_ids = ledger.authors(row.photo_id for row in rows)
        for row, counters in zip(rows, _counters(rows, author_ids), strict=True):
            yield _progress(row, counters, row.created_at)


def _counters(rows: Sequence[FanOut], author_ids: dict[int, UserId]) -> Sequence[Counters | None]:
    asked = [
        (row.photo_id, author_ids[row.photo_id]) for row in rows if row.is_open and row.photo_id in author_ids
    ]
    if not asked:
        return [None] * len(rows)
    try:
        counted = delivery.counters(asked)
        found = {photo_id: one for (photo_id, _), one in zip(asked, counted, strict=True)}
    except FeedError as error:
        logger.warning("progress of %d fan-outs from the ledger only: %s", len(asked), error)
        found = {}
    return [found.get(row.photo_id) for row in rows]


def _progress(row: FanOut, counters: Counters | None, uploaded_at: datetime) -> Progress:
    now = timezone.now()
    if counters is None:
        state, reached, total, refused = row.state, row.reached, row.total, 0
        started_at, ended_at = row.started_at, row.finished_at
    else:
        state, reached, total, refused = "running", counters.reached, counters.total, counters.refused
        started_at, ended_at = counters.started_at, counters.ended_at
    return Progress(
        photo_id=row.photo_id,
        state=state,
        reached=reached,
        total=total,
        refused=refused,
        started_at=started_at,
        finished_at=None if row.is_open else row.finished_at,
        lag_seconds=round((max(ended_at or now, uploaded_at) - uploaded_at).total_seconds(), 3),
    )


def longest_wait() -> float:
    """For how many seconds the oldest fan-out has waited for a worker; 0 if none waits."""
    waiting = FanOut.objects.filter(state=FanOut.State.WAITING)
    return _seconds_since(waiting.aggregate(oldest=Min("created_at"))["oldest"])


def longest_silence() -> float:
    """Seconds since the last sign of life of the fan-out under way that has been silent the longest."""
    running = FanOut.objects.filter(state=FanOut.State.RUNNING)
    return _seconds_since(running.aggregate(oldest=Min("heartbeat_at"))["oldest"])


def _seconds_since(moment: datetime | None) -> float:
    return (timezone.now() - moment).total_seconds() if moment else 0.0


def failed_ones() -> int:
    """How many fan-outs were given up."""
    return FanOut.objects.failed().count()
