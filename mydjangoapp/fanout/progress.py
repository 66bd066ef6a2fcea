"""How far fan-outs have come."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Min
from django.utils import timezone

from ..exceptions import FeedError
from ..homefeed import delivery
from ..models import FanOut

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """How far a fan-out is. `lag_seconds`: from the upload until everyone had it, or to now while somebody
    is left; `finished_at` is told when it is certain, with the state `done`."""

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
    reached, total, refused, ended = row.reached, row.total, 0, row.finished_at
    if row.is_open:
        try:
            if seen := delivery.progress(row.photo_id):
                reached, total, refused, ended = seen.reached, seen.total, seen.refused, seen.ended_at
        except FeedError as error:
            logger.warning("progress of photo %s from the ledger only: %s", row.photo_id, error)
    until = max(ended or timezone.now(), uploaded_at)
    return Standing(
        photo=row.photo_id,
        state=row.state,
        reached=reached,
        total=total,
        refused=refused,
        started_at=row.started_at,
        finished_at=None if row.is_open else row.finished_at,
        lag_seconds=round((until - uploaded_at).total_seconds(), 3),
    )


def open_ones() -> Iterator[Standing]:
    """Every fan-out that has not ended, oldest first."""
    for row in FanOut.objects.filter(state__in=FanOut.OPEN).order_by("id").iterator(chunk_size=500):
        yield standing(row, row.created_at)


def longest_wait() -> float:
    """For how many seconds the oldest fan-out has waited that no worker has taken up; 0 if none waits."""
    waiting = FanOut.objects.filter(state=FanOut.State.WAITING)
    return _seconds_since(waiting.aggregate(oldest=Min("created_at"))["oldest"])


def longest_silence() -> float:
    """For how many seconds nothing has been heard of the fan-out under way that is silent the longest."""
    running = FanOut.objects.filter(state=FanOut.State.RUNNING)
    return _seconds_since(running.aggregate(oldest=Min("heartbeat_at"))["oldest"])


def _seconds_since(moment: datetime | None) -> float:
    return (timezone.now() - moment).total_seconds() if moment else 0.0


def failed_ones() -> int:
    """How many fan-outs were given up."""
    return FanOut.objects.filter(state=FanOut.State.FAILED).count()
