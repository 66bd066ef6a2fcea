"""Claiming a batch: of any number of messages for one link, one gets it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from ...conf import conf
from ...models import UserId
from .. import keys, scripts
from . import slices
from .slices import Slice

GUARD_AFTER = 3_600  # seconds; what is known of lists built meanwhile is kept for a limited time


class Verdict(StrEnum):
    """What `lua/claim.lua` says of a message."""

    START = "start"
    NEXT = "next"
    TAKEOVER = "takeover"
    DUPLICATE = "duplicate"
    ENDED = "ended"
    ABSENT = "absent"
    UNLISTED = "unlisted"
    LONG = "long"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True)
class Message:
    """One message of a chain. `cursor` names the link; where to go on is what Redis says. `redelivered`: by
    the broker, so its worker may have died. `retried`: by its own task, because a server was away. `sent_at`:
    when it was sent, in seconds since 1970, 0 if that is not known."""

    photo_id: int
    author_id: UserId
    cursor: int = 0
    redelivered: bool = False
    retried: bool = False
    sent_at: float = 0.0

    @property
    def is_first(self) -> bool:
        """Whether Redis most likely knows nothing of the fan-out yet."""
        return self.cursor == 0 and not self.redelivered


@dataclass(frozen=True)
class Beginning:
    """What the ledger says of a fan-out that may begin.

    `guard`: its photo may be in some lists already. `attempts`: starts that the ledger knows of.
    `without_followers`: SQL has no follower of the author. `pull_above`: leave longer lists to the readers.
    """

    guard: bool = False
    attempts: int = 0
    without_followers: bool = False
    pull_above: int | None = None


@dataclass(frozen=True)
class Claim:
    """The answer to a message: a batch of followers, from index `start` up to, not including, `stop`, if it
    was granted; the fan-out's counters; and the first slice, if that has been served in the same step."""

    photo_id: int
    author_id: UserId
    verdict: Verdict
    start: int
    stop: int
    is_ledger_due: bool
    cursor: int
    reached: int
    total: int
    attempts: int
    started_at: datetime | None
    first_slice: Slice | None = None

    @property
    def granted(self) -> bool:
        return self.verdict in (Verdict.START, Verdict.NEXT, Verdict.TAKEOVER)

    @property
    def left(self) -> int:
        """At most so many followers of the batch had not been served when it was claimed."""
        stop = min(self.stop, self.total) if self.verdict is Verdict.START else self.stop
        return max(0, stop - max(self.start, self.cursor))


def claim(message: Message) -> Claim:
    """Asks for the batch that a message names; its start is counted before it is granted.

    `absent` where Redis knows nothing of the fan-out: see `begin`. One round trip. Raises `FeedsUnavailable`,
    `FeedsRefused`.
    """
    return _read(message, scripts.claim(*_call_for(message, None)))


def begin(message: Message, beginning: Beginning) -> Claim:
    """The same for a fan-out that may begin. If it does, its first slice is served in the same step.

    One round trip. Raises `FeedsUnavailable`, `FeedsRefused`.
    """
    names, arguments = _call_for(message, beginning)
    slice_names, slice_arguments = slices.call_for(message.photo_id, message.author_id, 0, conf.BATCH_SIZE)
    claimed, served = scripts.begin([*names, *slice_names], [*arguments, *slice_arguments])
    batch = _read(message, claimed)
    return replace(batch, first_slice=slices.read(message.photo_id, served)) if served else batch


def _call_for(message: Message, beginning: Beginning | None) -> tuple[list[str], list[Any]]:
    photo_id, author_id = message.photo_id, message.author_id
    ledger = beginning or Beginning()
    names = [keys.fanout(author_id, photo_id), keys.followers(author_id), keys.state(author_id)]
    names += [
        keys.running(author_id),
        keys.queue(),
        keys.homefeed(author_id),
        keys.built(author_id, photo_id),
    ]
    comes_again = message.redelivered or message.retried
    flags = (comes_again, beginning is not None, ledger.guard, ledger.without_followers)
    arguments: list[Any] = [photo_id, message.cursor, conf.BATCH_SIZE, conf.LEASE_SECONDS]
    arguments += [*map(int, flags), str(author_id), secrets.token_hex(8), message.sent_at, GUARD_AFTER]
    arguments += [ledger.attempts, conf.MAX_ATTEMPTS]
    arguments += ["" if ledger.pull_above is None else ledger.pull_above, int(not message.retried)]
    return names, arguments


Made = TypeVar("Made", bound=Claim)


def _read(message: Message, reply: list[Any]) -> Claim:
    return claim_from(message, reply, Claim)


def claim_from(message: Message, figures: list[Any], kind: type[Made], **more: Any) -> Made:
    """A claim of this kind by what the script has answered."""
    verdict, start, stop, is_due, cursor, reached, total, attempts, started = figures
    return kind(
        photo_id=message.photo_id,
        author_id=message.author_id,
        verdict=Verdict(verdict.decode()),
        start=start,
        stop=stop,
        is_ledger_due=bool(is_due),
        cursor=cursor,
        reached=reached,
        total=total,
        attempts=attempts,
        started_at=datetime.fromtimestamp(float(started), UTC) if started else None,
        **more,
    )
