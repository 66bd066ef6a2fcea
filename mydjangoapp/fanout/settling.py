"""The end of a fan-out: from Redis into the ledger, many at a time.

A fan-out that has served everybody is `done` when Redis has held that for `SETTLE_SECONDS`: until then a
crash of Redis may take the end back, and the last pushes with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django.db import connections

from .. import domain_events
from ..conf import conf
from ..connections import database
from ..homefeed import delivery, keys, turns
from ..homefeed.delivery import Ended
from ..models import FanOut, UserId
from . import ledger
from .chain import Enqueue

logger = logging.getLogger(__name__)

ROWS = 500
FIGURES = ["state", "cursor", "reached", "total", "attempts", "started_at", "heartbeat_at"]
FIGURES += ["finished_at", "last_error"]


@dataclass(frozen=True)
class Settled:
    """Authors of the fan-outs that were settled. `more`: others may be settled now. `later`: others have
    ended only just now."""

    author_ids: list[UserId] = field(default_factory=list)
    more: bool = False
    later: bool = False


def settle(enqueue: Enqueue, enqueue_removal: Callable[[int, UserId], bool]) -> Settled:
    """Enters ended fan-outs in the ledger as done; has photos that were deleted meanwhile removed. One of
    whose pushes a node of a cluster may have lost some is carried again.

    Any number of processes may do this at once. Two queries and, per 500 fan-outs, a few statements; at
    most four round trips, on a cluster some to each node. Raises `FeedsUnavailable`, `FeedsRefused`.
    """
    taken = delivery.take_ended(ROWS)
    author_ids = ledger.authors(one.photo_id for one in (*taken.ended, *taken.lost))
    deleted = [one for one in (*taken.ended, *taken.lost) if one.photo_id not in author_ids]
    _finish(taken.ended, author_ids)
    for one in deleted:
        # While Redis could not be told: the removal may have come before the last pushes.
        enqueue_removal(one.photo_id, one.author)
    delivery.retire(list(dict.fromkeys((*taken.ended, *deleted))))
    _carry_again([one for one in taken.lost if one.photo_id in author_ids], author_ids, enqueue)
    later = taken.others > 0 and not taken.is_full
    return Settled(list(dict.fromkeys(author_ids.values())), more=taken.is_full, later=later)


def _carry_again(fanouts: Sequence[Ended], author_ids: dict[int, UserId], enqueue: Enqueue) -> None:
    delivery.begin_again(fanouts)
    for one in fanouts:
        logger.warning(
            "photo %s is carried again: a node that took pushes of it was restarted or replaced", one.photo_id
        )
        enqueue(one.photo_id, author_ids[one.photo_id], 0)


def is_due_later() -> bool:
    """True for one caller per `SETTLE_SECONDS`, which then enqueues the settling. The script that serves
    a last slice takes the same turn. One round trip."""
    return turns.begin(keys.settling(), conf.SETTLE_SECONDS)


def _finish(ended: Sequence[Ended], author_ids: dict[int, UserId]) -> None:
    if not ended:
        return
    figures = {one.photo_id: one for one in ended}
    with database.atomic():
        rows = list(ledger.rows().open().select_for_update().filter(photo_id__in=figures).order_by("id"))
        for row in rows:
            _enter(row, figures[row.photo_id])
        _write(rows)
        domain_events.fanouts_finished(rows, author_ids)


def _enter(row: FanOut, ended: Ended) -> None:
    row.state, row.last_error = FanOut.State.DONE, ""
    row.cursor, row.reached, row.total = ended.cursor, ended.reached, ended.total
    row.attempts = ended.attempts
    row.started_at, row.finished_at, row.heartbeat_at = ended.started_at, ended.ended_at, ended.ended_at


def _write(rows: Sequence[FanOut]) -> None:
    """One statement for many rows, which are locked: an upsert of rows that are all there, because it costs a
    fifth of the CASE per field and row that `bulk_update` makes."""
    named = connections[database.writer()].features.supports_update_conflicts_with_target
    ledger.rows().bulk_create(
        rows, update_conflicts=True, update_fields=FIGURES, unique_fields=["id"] if named else None
    )
