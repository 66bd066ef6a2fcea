"""What would grow for ever: rows and entries that nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from ..conf import conf
from ..connections import database
from ..connections.paging import in_pages
from ..events.registry import all_there_are
from ..exceptions import FeedError
from ..homefeed import receipts as feed_receipts
from ..models import FanOut, UploadKey

AT_ONCE = 1_000  # rows
RECEIPTS_DAYS = 1  # a change that is older and still in the outbox is applied once more


@dataclass(frozen=True)
class Pruned:
    """How many of each were deleted."""

    upload_keys: int
    fanouts: int
    receipts: int
    dead_letters: int

    def __str__(self) -> str:
        return ", ".join(f"{getattr(self, one.name):,} {one.name.replace('_', ' ')}" for one in fields(self))


def prune() -> Pruned:
    """Deletes idempotency keys, ended fan-outs and dead letters that are older than the settings say, and
    receipts that belong to nothing. May be repeated and broken off.

    Failed fan-outs stay until somebody has seen to them. Raises the `FeedError` of what cannot be reached,
    when the others have been pruned.
    """
    now = timezone.now()
    keys = _delete(UploadKey, UploadKey.objects.all(), now - timedelta(days=conf.KEEP_UPLOAD_KEYS))
    ended = database.primary(FanOut).filter(state__in=(FanOut.State.DONE, FanOut.State.CANCELLED))
    fanouts = _delete(FanOut, ended, now - timedelta(days=conf.KEEP_FANOUTS))
    problem: FeedError | None = None
    receipts = letters = 0
    try:
        receipts = feed_receipts.forget_older_than(RECEIPTS_DAYS * 86_400)
    except FeedError as error:
        problem = error
    try:
        letters = sum(one.prune(conf.EVENTS_KEEP_DEAD * 86_400) for one in all_there_are())
    except FeedError as error:
        problem = error
    if problem:
        raise problem
    return Pruned(keys, fanouts, receipts, letters)


def _delete(model: Any, rows: QuerySet[Any], before: datetime) -> int:
    """Rows are made in the order of their ids: from the oldest on, until one is young."""
    number = 0
    for ids in _old(model, before):
        number += rows.using(database.writer()).filter(pk__in=ids).delete()[0]
    return number


def _old(model: Any, before: datetime) -> Iterator[list[Any]]:
    rows = model.objects.using(database.writer()).values_list("pk", "created_at")
    for some in in_pages(rows, size=AT_ONCE):
        yield [pk for pk, created_at in some if created_at < before]
        if some[-1][1] >= before:
            return
