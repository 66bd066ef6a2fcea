"""Fan-outs that have served everybody, until the ledger knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import ConnectionError, TimeoutError

from ...conf import conf
from ...models import UserId
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

    The same are returned again until they are retired. At most three round trips.
    """
    members, number = scripts.take_ended([keys.ended()], [conf.SETTLE_SECONDS, most])
    if not members:
        return [], number
    fanouts = [_parts(member) for member in members]
    with edge():
        pipeline = client().pipeline(transaction=False)
        for photo_id, author in fanouts:
            pipeline.hmget(keys.fanout(author, photo_id), FIGURES)
        answers = pipeline.execute(raise_on_error=False)
        found = [_read(*fanout, answer) for fanout, answer in zip(fanouts, answers, strict=True)]
        # Cancelled, or begun again by the rescue: it has not ended. Of a node that is away nobody knows.
        gone = [
            member
            for member, one, answer in zip(members, found, answers, strict=True)
            if one is None and not isinstance(answer, (ConnectionError, TimeoutError))
        ]
        if gone:
            client().zrem(keys.ended(), *gone)
    return [one for one in found if one], number - len(members)


FIGURES = ("cursor", "reached", "total", "attempts", "started", "ended")


def _member(photo_id: int, author: UserId) -> str:
    return f"{photo_id}:{author}"


def _parts(member: bytes) -> tuple[int, str]:
    photo, _, author = member.decode().partition(":")
    return int(photo), author


def _read(photo_id: int, author: str, figures: Any) -> Ended | None:
    """None if the counters are gone, or of a wrong type."""
    if isinstance(figures, Exception) or figures[-1] is None:
        return None
    cursor, reached, total, attempts, started, ended = figures
    return Ended(
        photo_id=photo_id,
        author=author,
        cursor=int(cursor),
        reached=int(reached),
        total=int(total),
        attempts=int(attempts or 0),
        started_at=_moment(started),
        ended_at=_moment(ended),
    )


def _moment(seconds: bytes) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


def retire(fanouts: Sequence[Ended]) -> None:
    """Drops what Redis holds of fan-outs that the ledger has ended. One round trip, repeatable."""
    if not fanouts:
        return
    with edge():
        pipeline = client().pipeline(transaction=False)
        for one in fanouts:
            pipeline.expire(keys.fanout(one.author, one.photo_id), KEPT_SECONDS)
            pipeline.unlink(keys.built(one.author, one.photo_id))
        pipeline.zrem(keys.ended(), *(_member(one.photo_id, one.author) for one in fanouts))
        pipeline.execute()


def note_end(photo_id: int, author_id: UserId, ended: float) -> None:
    """Adds an end that only the hash has to the set of those to settle. One round trip."""
    with edge():
        client().zadd(keys.ended(), {_member(photo_id, author_id): ended}, nx=True)
