"""How far fan-outs are, as Redis has it; and the end of one that is not to go on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import ResponseError

from ...models import UserId
from .. import keys
from ..feeds_redis import client, edge

logger = logging.getLogger(__name__)

FIELDS = ("cursor", "reached", "total", "refused", "attempts", "started", "beat", "ended")


@dataclass(frozen=True)
class Counters:
    """Counters of one fan-out. Times are Redis's own, in seconds since 1970."""

    photo_id: int
    cursor: int
    reached: int
    total: int
    refused: int
    attempts: int
    started: float
    beat: float
    idle: float
    """Seconds since its last sign of life; below zero if the server's clock was set back."""
    ended: float | None
    """When nobody was left to serve; None while somebody is."""

    @property
    def started_at(self) -> datetime:
        return datetime.fromtimestamp(self.started, UTC)

    @property
    def ended_at(self) -> datetime | None:
        return None if self.ended is None else datetime.fromtimestamp(self.ended, UTC)


def counters(photo_ids: Sequence[int]) -> list[Counters | None]:
    """The counters of each fan-out; None where Redis has none, or cannot read them. One round trip.

    A key of a wrong type is logged; the task of that fan-out will report it in the ledger.
    """
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.time()
        for photo_id in photo_ids:
            pipeline.hmget(keys.fanout(photo_id), FIELDS)
        (seconds, microseconds), *answers = pipeline.execute(raise_on_error=False)
    now = seconds + microseconds / 1e6
    return [_read(photo_id, answer, now) for photo_id, answer in zip(photo_ids, answers, strict=True)]


def _read(photo_id: int, values: Any, now: float) -> Counters | None:
    if isinstance(values, ResponseError):
        logger.error("the counters of photo %s cannot be read: %s", photo_id, values)
        return None
    cursor, reached, total, refused, attempts, started, beat, ended = values
    if cursor is None:
        return None
    return Counters(
        photo_id=photo_id,
        cursor=int(cursor),
        reached=int(reached),
        total=int(total),
        refused=int(refused),
        attempts=int(attempts or 0),
        started=float(started),
        beat=float(beat),
        idle=now - float(beat),
        ended=None if ended is None else float(ended),
    )


def note_pulled(photo_id: int) -> None:
    """Tells readers that from now on there are photos that are not pushed. One round trip, repeatable."""
    with edge():
        client().set(keys.pulled(), photo_id)


def cancel(photo_id: int, author_id: UserId | None = None) -> None:
    """Stops a fan-out: a worker that carries it finds nothing more to do. Two round trips, repeatable.

    With `author_id` also clears away what a lost or damaged hash has left behind. One that has served
    everybody is left to be settled: if its photo is gone, the photo is then taken out of the lists.
    """
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.hget(keys.fanout(photo_id), "author")
        pipeline.hget(keys.fanout(photo_id), "ended")
        noted, ended = pipeline.execute(raise_on_error=False)
        if isinstance(ended, bytes):
            client().zadd(keys.ended(), {str(photo_id): float(ended)}, nx=True)
            return
        author_ids = {noted.decode()} if isinstance(noted, bytes) else set()
        if author_id is not None:
            author_ids.add(str(author_id))
        pipeline = client().pipeline(transaction=True)
        for id_ in author_ids:
            pipeline.srem(keys.running(id_), str(photo_id))
        pipeline.delete(keys.fanout(photo_id), keys.built(photo_id))
        pipeline.execute()


def under_way(author_id: UserId) -> list[int]:
    """Photos of the author whose fan-outs keep the follower list from being rewritten. One round trip."""
    with edge():
        members: Any = client().smembers(keys.running(author_id))
    return _ids(members)


def _ids(members: Iterable[bytes]) -> list[int]:
    return [int(member) for member in members if member.isdigit()]
