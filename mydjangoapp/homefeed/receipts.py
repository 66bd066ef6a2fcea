"""Receipts: Redis notes which rows of the outbox it has. A crash that takes a change back takes its receipt
back, too, and the change is then applied again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import keys, scripts
from .feeds_redis import client, edge, store

KEPT_SECONDS = 86_400  # a row is applied again if nobody has looked at it for so long


def _name(*, now: bool = False) -> str:
    """Where receipts are. In a cluster they may lie on another node than what they vouch for. So they count
    for as long as every node lives: after a restart or fail-over of any, what waits is applied again."""
    if not store().is_cluster:
        return keys.receipts()
    with edge():
        return f"{keys.receipts()}:{store().lives(now=now)}"


def give(rows: Sequence[int]) -> None:
    """Notes that these `PendingChange` rows have been applied. One round trip, repeatable."""
    scripts.give_receipts([_name()], [KEPT_SECONDS, *rows])


def held_for(rows: Sequence[int]) -> list[float | None]:
    """For each row, how many seconds Redis has held its receipt; None if Redis does not
    have one. One round trip."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.time()
        pipeline.zmscore(_name(now=True), [str(row) for row in rows])
        (seconds, microseconds), given = pipeline.execute()
    now = seconds + microseconds / 1e6
    ages = [None if at is None else now - float(at) for at in given]
    if ahead := [row for row, age in zip(rows, ages, strict=True) if age is not None and age < 0]:
        give(ahead)  # the server's clock was set back: counted from now on
    return [None if age is None else max(0.0, age) for age in ages]


def forget(rows: Sequence[int]) -> None:
    """Drops the receipts of these rows. One round trip, repeatable."""
    with edge():
        client().zrem(_name(), *rows)


def forget_older_than(seconds: float) -> int:
    """Drops receipts whose rows were deleted long ago; returns how many. Two round trips, repeatable."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.time()
        pipeline.exists(name := _name())
        now, _ = pipeline.execute()
        return int(client().zremrangebyscore(name, "-inf", now[0] - seconds))


def outbox_position() -> int:
    """The row of the outbox at which the last call stopped; 0 if it came to the end. One round trip."""
    with edge():
        found: Any = client().get(keys.outbox_position())
    return int(found or 0)


def set_outbox_position(row: int) -> None:
    """Where the next call is to go on. One round trip."""
    with edge():
        client().set(keys.outbox_position(), row)
