"""Fan-outs that have served everybody, until the ledger knows.

On a cluster the pushes are on other nodes than the end. Each fan-out notes in which lives of which nodes it
has pushed (`connections/redis_lives.py`). Its end counts when those lives are still led and have what they
acknowledged for good, on a replica where there is one. Where such a life is over, the node may have lost the
last pushes: the fan-out begins again.

Which have ended is noted there in sets for 256 slots each, most of which lie beside their authors: a node
that is away keeps no others from being settled.
"""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import ConnectionError, TimeoutError

from ...conf import conf
from ...connections.hash_tags import SLOTS, slot_of
from ...models import UserId
from .. import feeds_redis, keys, scripts
from ..feeds_redis import client, edge

logger = logging.getLogger(__name__)

SLOTS_OF_A_SET = 256
AWAY = (ConnectionError, TimeoutError)
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
    lives: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TakenEnds:
    """`ended`: fan-outs to be settled. `lost`: those that may have lost pushes. `others`: how many others
    have ended. `is_full`: whether more of them may be settled now."""

    ended: list[Ended]
    lost: list[Ended]
    others: int
    is_full: bool


def set_of(author: UserId) -> str:
    """The key of the set in which the ends of this author's fan-outs are noted."""
    if not feeds_redis.store().is_cluster:
        return keys.ended()
    slot = slot_of(keys.followers(author))
    return keys.ended(slot - slot % SLOTS_OF_A_SET)


def _sets() -> list[str]:
    if not feeds_redis.store().is_cluster:
        return [keys.ended()]
    return [keys.ended(slot) for slot in range(0, SLOTS, SLOTS_OF_A_SET)]


def _by_set(fanouts: Iterable[tuple[int, UserId]]) -> dict[str, list[str]]:
    """The members of each set that stand for these, named by photo and author."""
    members: defaultdict[str, list[str]] = defaultdict(list)
    for photo_id, author in fanouts:
        members[set_of(author)].append(f"{photo_id}:{author}")
    return members


def take_ended(most: int) -> TakenEnds:
    """At most so many fan-outs whose end Redis has held for `SETTLE_SECONDS`, the oldest of a set first: its
    crash can no longer take the end back.

    The same are returned again until they are retired. At most three round trips, on a cluster some to each
    node. Raises `FeedsUnavailable` if no node answers.
    """
    members, number = _members(most)
    found, unknown = _found(members) if members else ([], [])
    kept = feeds_redis.kept() if found else None
    if kept is None:
        return TakenEnds(found, [], number - len(members), len(members) == most)
    ended = [one for one in found if one.lives <= kept.safe]
    lost = [one for one in found if kept.is_complete and not one.lives <= kept.alive]
    gone = {one.photo_id for one in (*ended, *lost)}
    waiting = _by_set([*unknown, *((one.photo_id, one.author) for one in found if one.photo_id not in gone)])
    if waiting:
        scripts.put_off.many([([name], some) for name, some in waiting.items()])
    others = number - len(members) + sum(map(len, waiting.values()))
    return TakenEnds(ended, lost, others, len(members) == most)


def _members(most: int) -> tuple[list[bytes], int]:
    """At most so many members of the sets of all nodes that do as they are told, and how many there are
    altogether."""
    names = _sets()
    random.shuffle(names)  # each has its turn to be the first
    answers = scripts.take_ended.many([([name], [conf.SETTLE_SECONDS, most]) for name in names])
    errors = [answer for answer in answers if isinstance(answer, Exception)]
    if len(errors) == len(answers):
        with edge():
            raise errors[0]
    if errors:
        logger.warning("%d sets of ended fan-outs cannot be read: %s", len(errors), errors[0])
    told = [answer for answer in answers if not isinstance(answer, Exception)]
    taken = [member for members, _ in told for member in members]
    return taken[:most], sum(length for _, length in told)


def _found(members: Sequence[bytes]) -> tuple[list[Ended], list[tuple[int, str]]]:
    """What these members stand for; and those of which nobody knows, because a node is away."""
    fanouts = [_parts(member) for member in members]
    with edge():
        pipeline = client().pipeline(transaction=False)
        for photo_id, author in fanouts:
            pipeline.hmget(keys.fanout(author, photo_id), FIGURES)
        answers = pipeline.execute(raise_on_error=False)
        found = [_read(*fanout, answer) for fanout, answer in zip(fanouts, answers, strict=True)]
        unknown = [
            fanout for fanout, answer in zip(fanouts, answers, strict=True) if isinstance(answer, AWAY)
        ]
        # Cancelled, or begun again by the rescue: it has not ended.
        gone = [fanout for fanout, one in zip(fanouts, found, strict=True) if one is None]
        if gone := [fanout for fanout in gone if fanout not in unknown]:
            _remove(gone)
    return [one for one in found if one], unknown


FIGURES = ("cursor", "reached", "total", "attempts", "started", "lives", "ended")


def _remove(fanouts: Iterable[tuple[int, UserId]]) -> None:
    """Takes these out of their sets; to be called within `edge`."""
    pipeline = client().pipeline(transaction=False)
    for name, some in _by_set(fanouts).items():
        pipeline.zrem(name, *some)
    _execute(pipeline)


def _execute(pipeline: Any) -> None:
    """Runs commands that may be repeated later; where a node of a cluster does not do its own, the others
    do."""
    errors = [answer for answer in pipeline.execute(raise_on_error=False) if isinstance(answer, Exception)]
    if errors and not feeds_redis.store().is_cluster:
        raise errors[0]
    if errors:
        logger.warning("%d commands for ended fan-outs are repeated later: %s", len(errors), errors[0])


def _parts(member: bytes) -> tuple[int, str]:
    photo, _, author = member.decode().partition(":")
    return int(photo), author


def _read(photo_id: int, author: str, figures: Any) -> Ended | None:
    """None if the counters are gone, or of a wrong type."""
    if isinstance(figures, Exception) or figures[-1] is None:
        return None
    cursor, reached, total, attempts, started, lives, ended = figures
    return Ended(
        photo_id=photo_id,
        author=author,
        cursor=int(cursor),
        reached=int(reached),
        total=int(total),
        attempts=int(attempts or 0),
        started_at=_moment(started),
        ended_at=_moment(ended),
        lives=frozenset((lives or b"").decode().split()),
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
            pipeline.unlink(keys.built(one.author, one.photo_id), keys.left(one.author, one.photo_id))
        for name, some in _by_set((one.photo_id, one.author) for one in fanouts).items():
            pipeline.zrem(name, *some)
        _execute(pipeline)


def begin_again(fanouts: Sequence[Ended]) -> None:
    """Lets these be carried once more, from the first follower on. One round trip to each node, and one;
    repeatable."""
    if not fanouts:
        return
    calls: list[tuple[list[str], list[Any]]] = []
    for one in fanouts:
        names = [keys.fanout(one.author, one.photo_id), keys.followers(one.author), keys.state(one.author)]
        calls.append(([*names, keys.running(one.author)], [one.photo_id]))
    replies = scripts.begin_again.many(calls)
    begun = [one for one, reply in zip(fanouts, replies, strict=True) if not isinstance(reply, Exception)]
    with edge():
        _remove((one.photo_id, one.author) for one in begun)


def note_end(photo_id: int, author_id: UserId, ended: float) -> None:
    """Adds an end that only the hash has to the set of those to settle. One round trip."""
    with edge():
        client().zadd(set_of(author_id), {f"{photo_id}:{author_id}": ended}, nx=True)
