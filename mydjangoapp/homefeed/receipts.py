"""Receipts: Redis notes which rows of the outbox it has. A crash that takes a change back takes its receipt
back, too, and the change is then applied again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import feeds_redis, keys, scripts
from .feeds_redis import client, edge, store, unless_its_node_is_away

KEPT_SECONDS = 86_400  # a row is applied again if nobody has looked at it for so long


def where(*, now: bool = False) -> str:
    """Where receipts lie for changes that are applied from now on. In a cluster they may lie on another node
    than what they vouch for. So they count for as long as every node lives: after a restart or fail-over of
    any, what waits is applied again; also while one is away. On a cluster as it was within the last second,
    or is `now`."""
    if not store().is_cluster:
        return keys.receipts()
    with edge():
        return keys.receipts(store().lives(now=now))


def give(rows: Sequence[int], at: str) -> None:
    """Notes that these `PendingChange` rows have been applied. `at` is what `where` said before they were.
    One round trip, repeatable."""
    scripts.give_receipts([at], [KEPT_SECONDS, *rows])


def held_for(rows: Sequence[int], at: str) -> list[float | None]:
    """For each row, how many seconds Redis has held its receipt; None if Redis does not
    have one. One round trip."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.time()
        pipeline.zmscore(at, [str(row) for row in rows])
        (seconds, microseconds), given = pipeline.execute()
    now = seconds + microseconds / 1e6
    ages = [None if at is None else now - float(at) for at in given]
    if ahead := [row for row, age in zip(rows, ages, strict=True) if age is not None and age < 0]:
        give(ahead, at)  # the server's clock was set back: counted from now on
    return [None if age is None else max(0.0, age) for age in ages]


def are_kept(at: str) -> bool:
    """Whether what these receipts vouch for survives the loss of any one server, if they have been held for
    `SETTLE_SECONDS`. One round trip to each node of a cluster, and one."""
    kept = feeds_redis.kept()
    return kept is None or (kept.is_complete and kept.alive <= kept.safe and where(now=True) == at)


def forget(rows: Sequence[int], at: str) -> None:
    """Drops the receipts of these rows. One round trip, repeatable."""
    with edge():
        client().zrem(at, *rows)


def forget_older_than(seconds: float) -> int:
    """Drops receipts whose rows were deleted long ago; returns how many. Two round trips, repeatable."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.time()
        pipeline.exists(name := where())
        now, _ = pipeline.execute()
        return int(client().zremrangebyscore(name, "-inf", now[0] - seconds))


def outbox_position() -> int:
    """The row of the outbox at which the last call stopped; 0 if it came to the end, or if the one node of a
    cluster that knows it is away. One round trip."""
    found: Any = None
    with unless_its_node_is_away("the outbox is read from its beginning"), edge():
        found = client().get(keys.outbox_position())
    return int(found or 0)


def set_outbox_position(row: int) -> None:
    """Where the next call is to go on. One round trip."""
    with unless_its_node_is_away("nobody remembers how far the outbox was read"), edge():
        client().set(keys.outbox_position(), row)
