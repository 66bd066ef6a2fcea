"""The ledger of fan-outs: SQL says which photos are to be carried, which have been, and which were given up.

A small fan-out costs it one read when it begins, and a share of one statement when it is settled.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from ..conf import conf
from ..connections import database
from ..connections.compiled import CompiledQuery
from ..exceptions import FeedError, PhotoIdTooLarge
from ..homefeed import delivery
from ..models import FanOut, UserId, author_column, get_photo_model
from ..models.fanout import FanOutQuerySet

logger = logging.getLogger(__name__)


def rows() -> FanOutQuerySet:
    """Every fan-out, as the database that takes writes has it: a replica may be behind."""
    return FanOut.objects.using(database.writer())


def open_for(photo: Any) -> FanOut:
    """Writes the fan-out of a new photo, in the photo's own transaction. Raises `PhotoIdTooLarge`."""
    if problem := _id_problem(photo.pk):
        raise PhotoIdTooLarge(problem)
    return rows().create(photo=photo, author_id=photo.author_key)


def _id_problem(photo_id: int) -> str:
    """Why a photo with this id cannot be carried; empty if it can."""
    if photo_id <= delivery.LARGEST_ID:
        return ""
    return (
        f"Photo {photo_id} has an id above {delivery.LARGEST_ID}, the largest that feeds can hold. "
        "Let ids grow from below, one by one."
    )


@dataclass(frozen=True)
class Entry:
    """What the ledger has of a fan-out that is to begin. `heard_of_at`: its last sign of life, or when the
    rescue sent its message again. `was_missing`: its row was made only now, because the photo was written
    past `uploads`."""

    author_id: UserId
    state: str
    created_at: datetime
    attempts: int
    heard_of_at: datetime | None = None
    was_missing: bool = False

    @property
    def age(self) -> float:
        """Seconds since the photo was published."""
        return (timezone.now() - self.created_at).total_seconds()


def entry_to_begin(photo_id: int, author_id: UserId) -> Entry | None:
    """The open fan-out of a photo, by this author as a message says; None if there is nothing to carry.

    One query, of five columns. A photo that was written past `uploads` gets its row here: three more.
    """
    entry = _entry(photo_id) or _entry_of_photo_without(photo_id, author_id)
    if entry is None or entry.state not in FanOut.OPEN:
        return None
    if problem := _id_problem(photo_id):
        give_up(photo_id, entry.author_id, problem)
        return None
    return entry


def _entry(photo_id: int) -> Entry | None:
    columns = _ENTRY.first(database.writer(), photo_id)
    return None if columns is None else Entry(*columns)


# Every small fan-out asks it.
_ENTRY = CompiledQuery(
    lambda alias: (
        FanOut.objects.using(alias)
        .of(0)
        .values_list(f"photo__{author_column()}", "state", "created_at", "attempts", "heartbeat_at")
    )
)


def _entry_of_photo_without(photo_id: int, author_id: UserId) -> Entry | None:
    photo = database.primary(get_photo_model()).filter(id=photo_id).first()
    if photo is None:
        cancel(photo_id, author_id)
        return None
    if timezone.now() - photo.created_at > timedelta(days=conf.KEEP_FANOUTS):
        logger.info("photo %s is older than the ledger: it has been carried", photo_id)
        return None
    row, made = rows().get_or_create(photo=photo, defaults={"author_id": photo.author_key})
    return Entry(photo.author_key, row.state, row.created_at, row.attempts, was_missing=made)


def record(figures: delivery.Claim | delivery.Counters) -> bool:
    """Copies Redis's figures of a fan-out under way; returns False if the ledger has ended it."""
    return (
        rows()
        .of(figures.photo_id)
        .advance(
            cursor=figures.cursor,
            reached=figures.reached,
            total=figures.total,
            attempts=figures.attempts,
            started_at=figures.started_at,
        )
    )


def authors(photo_ids: Iterable[int]) -> dict[int, UserId]:
    """The authors of those photos that are there. One query."""
    photos = database.primary(get_photo_model()).filter(id__in=list(photo_ids))
    return dict(photos.values_list("id", author_column()))


def give_up(photo_id: int, author_id: UserId, why: str, *, attempts: int = 0) -> None:
    """Ends a fan-out as failed and clears away what Redis holds of it, so that the author's follower list can
    be compacted and repaired. If Redis is away now, whoever finds the rest later clears it away."""
    figures = {"attempts": attempts} if attempts else {}
    if rows().of(photo_id).give_up(why, **figures):
        logger.error("fan-out of photo %s failed: %s", photo_id, why)
    clear_away(photo_id, author_id)


def cancel(photo_id: int, author_id: UserId | None) -> None:
    """Ends the fan-out of a photo that is gone. If Redis is away the chain may run to its end all the same;
    when it is settled the photo is taken out of the lists again."""
    if rows().of(photo_id).cancel():
        logger.info("photo %s is not there (any more): cancelled", photo_id)
    if author_id is not None:
        clear_away(photo_id, author_id)


def clear_away(photo_id: int, author_id: UserId) -> None:
    """Drops what Redis holds of a fan-out that has ended, or is to begin anew; not if Redis is away."""
    try:
        delivery.cancel(photo_id, author_id)
    except FeedError as error:
        logger.warning("photo %s: %s", photo_id, error)


def count_refusal(photo_id: int, author_id: UserId) -> None:
    """Counts a message that Redis refused to the end: a key of a wrong type does not heal by itself."""
    row = rows().of(photo_id)
    row.count_attempt()
    attempts, error = row.open().values_list("attempts", "last_error").first() or (0, "")
    if attempts > conf.MAX_ATTEMPTS:
        give_up(photo_id, author_id, f"Redis refused it {attempts} times: {error}")
