"""Receipts: Redis notes which rows of the outbox it has. A crash that takes a change back takes its receipt
back, too, and the change is then applied again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import keys, scripts
from .feeds_redis import client, edge


def give(rows: Sequence[int]) -> None:
    """Notes that these `PendingChange` rows have been applied. One round trip, repeatable."""
    scripts.give_receipts([keys.receipts()], list(rows))


def held_for(rows: Sequence[int]) -> list[float | None]:
    """For each row, how many seconds Redis has held its receipt; None if Redis does not
    have one. One round trip."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.time()
        pipeline.zmscore(keys.receipts(), [str(row) for row in rows])
        (seconds, microseconds), given = pipeline.execute()
    now = seconds + microseconds / 1e6
    ages = [None if at is None else now - float(at) for at in given]
    if ahead := [row for row, age in zip(rows, ages, strict=True) if age is not None and age < 0]:
        give(ahead)  # the server's clock was set back: counted from now on
    return [None if age is None else max(0.0, age) for age in ages]


def forget(rows: Sequence[int]) -> None:
    """Drops the receipts of these rows. One round trip, repeatable."""
    with edge():
        client().zrem(keys.receipts(), *rows)


def forget_older_than(seconds: float) -> int:
    """Drops receipts whose rows were deleted long ago; returns how many. Two round trips, repeatable."""
    with edge():
        now: Any = client().time()
        return int(client().zremrangebyscore(keys.receipts(), "-inf", now[0] - seconds))


def outbox_position() -> int:
    """The row of the outbox at which the last call stopped; 0 if it came to the end. One round trip."""
    with edge():
        found: Any = client().get(keys.outbox_position())
    return int(found or 0)


def set_outbox_position(row: int) -> None:
    """Where the next call is to go on. One round trip."""
    with edge():
        client().set(keys.outbox_position(), row)
