"""Fan-outs that have served everybody, until the ledger knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ...conf import conf
from .. import keys, scripts
from ..feeds_redis import client, edge

KEPT_SECONDS = 60  # how long the hash of a settled fan-out stays, for those who read its progress just now


@dataclass(frozen=True)
class Ended:
    """The last figures of a fan-out; the author's id as text."""

    photo_id: int
    author: str
    cursor: int
    reached: int
    total: int
    attempts: int
    started_at: datetime
    ended_at: datetime


def take_ended(most: int) -> tuple[list[Ended], int]:
    """At most so many fan-outs whose end Redis has held for `SETTLE_SECONDS`, the oldest first: its crash can
    no longer take the end back. And how many others have ended.

    The same are returned again until they are retired. One round trip.
    """
    rows, number = scripts.take_ended([keys.ended()], [conf.SETTLE_SECONDS, most, keys.fanout("")])
    return [_read(*row) for row in rows], number - len(rows)


def _read(photo_id: bytes, author: bytes, *figures: bytes) -> Ended:
    cursor, reached, total, attempts, started, ended = figures
    return Ended(
        photo_id=int(photo_id),
        author=author.decode(),
        cursor=int(cursor),
        reached=int(reached),
        total=int(total),
        attempts=int(attempts),
        started_at=_moment(started),
        ended_at=_moment(ended),
    )


def _moment(seconds: bytes) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


def retire(photo_ids: Sequence[int]) -> None:
    """Drops what Redis holds of fan-outs that the ledger has ended. One round trip, repeatable."""
    if not photo_ids:
        return
    with edge():
        pipeline = client().pipeline(transaction=False)
        for photo_id in photo_ids:
            pipeline.expire(keys.fanout(photo_id), KEPT_SECONDS)
        pipeline.unlink(*map(keys.built, photo_ids))
        pipeline.zrem(keys.ended(), *photo_ids)
        pipeline.execute()


def note_end(photo_id: int, ended: float) -> None:
    """Adds an end that only the hash has to the set of those to settle. One round trip."""
    with edge():
        client().zadd(keys.ended(), {str(photo_id): ended}, nx=True)
