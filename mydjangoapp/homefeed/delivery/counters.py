"""How far fan-outs are, as Redis has it; and the end of one that is not to go on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import RedisError

from ...models import UserId
from .. import keys, scripts
from ..feeds_redis import client, edge, store
from .ended import note_end
from .limits import BUILT_SECONDS, FENCE_SECONDS, PULLED_SECONDS

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.01
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


def counters(fanouts: Sequence[tuple[int, UserId]]) -> list[Counters | None]:
    """The counters of each fan-out, named by photo and author; None where Redis has none, or cannot read
    them. One round trip.

    A key of a wrong type is logged; the task of that fan-out will report it in the ledger.
    """
    calls = [([keys.fanout(author_id, photo_id)], list(FIELDS)) for photo_id, author_id in fanouts]
    answers = scripts.look_at.many(calls)
    return [_read(photo_id, answer) for (photo_id, _), answer in zip(fanouts, answers, strict=True)]


def _read(photo_id: int, answer: Any) -> Counters | None:
    if isinstance(answer, RedisError):
        logger.error("the counters of photo %s cannot be read: %s", photo_id, answer)
        return None
    values, now = answer
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
        idle=float(now) - float(beat),
        ended=None if ended is None else float(ended),
    )


def note_pulled(photo_id: int) -> None:
    """Tells readers that from now on there are photos that are not pushed. One round trip, repeatable; on a
    cluster it waits, once in a site's life, until each process has asked again."""
    with edge():
        is_first = client().set(keys.pulled(), photo_id, nx=True)
    if is_first and store().is_cluster:
        time.sleep(PULLED_SECONDS)  # a reader who did not know would have a hole


def note_built(user_id: UserId, fanouts: Sequence[tuple[int, UserId]]) -> None:
    """Notes that the user's list is built with photos whose fan-outs, named by photo and author, have not
    ended: each looks whether its photo is there before it pushes it to this user. One round trip; on a
    cluster it waits for batches that do not look, some milliseconds, at most `FENCE_SECONDS`."""
    calls: list[tuple[list[str], list[Any]]] = [
        ([keys.built(author_id, photo_id), keys.fanout(author_id, photo_id)], [str(user_id), BUILT_SECONDS])
        for photo_id, author_id in fanouts
    ]
    before = _without_errors(scripts.note_built.many(calls))
    # On a cluster, batches that were read before push without looking for a moment yet.
    give_up_at = time.monotonic() + FENCE_SECONDS
    while any(before) and time.monotonic() < give_up_at:
        time.sleep(LOOK_SECONDS)  # before they are looked at again
        now = _without_errors(scripts.note_built.many(calls))
        before = [set(old) & set(new) for old, new in zip(before, now, strict=True)]


def _without_errors(replies: list[Any]) -> list[Any]:
    """The replies. Raises `FeedsRefused` if one is an error."""
    with edge():
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
    return replies


def cancel(photo_id: int, author_id: UserId) -> None:
    """Stops a fan-out: a worker that carries it finds nothing more to do. Two round trips, repeatable.

    One that has served everybody is left to be settled: if its photo is gone, the photo is then taken out of
    the lists.
    """
    fanout = keys.fanout(author_id, photo_id)
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.hget(fanout, "ended")
        [ended] = pipeline.execute(raise_on_error=False)
    if isinstance(ended, bytes):
        note_end(photo_id, author_id, float(ended))
        return
    with edge():
        pipeline = client().pipeline(transaction=True)
        pipeline.srem(keys.running(author_id), str(photo_id))
        pipeline.delete(fanout, keys.built(author_id, photo_id), keys.left(author_id, photo_id))
        pipeline.execute()


def under_way(author_id: UserId) -> list[int]:
    """Photos of the author whose fan-outs keep the follower list from being rewritten. One round trip."""
    with edge():
        members: Any = client().smembers(keys.running(author_id))
    return _ids(members)


def _ids(members: Iterable[bytes]) -> list[int]:
    return [int(member) for member in members if member.isdigit()]
