"""Telling readers that what they have derived from a user's relations or likes is no longer so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import keys, scripts
from .connection import client, edge


def changed(*users: Any) -> None:
    """Whom these users follow, mute or block has changed. One round trip, repeatable."""
    with edge():
        client().delete(*(keys.relations(user) for user in users))


def drop_feeds(*users: Any) -> None:
    """Photos that are in these users' lists belong there no longer: the lists are built anew at the
    next read. One round trip, repeatable."""
    kept = (keys.homefeed, keys.floor, keys.token, keys.relations)
    with edge():
        client().delete(*(make(user) for user in users for make in kept))


def give_receipts(rows: Sequence[int]) -> None:
    """Notes that these `GraphChange` rows have been applied. One round trip, repeatable."""
    scripts.give_receipts([keys.receipts()], list(rows))


def receipts_held_for(rows: Sequence[int]) -> list[float | None]:
    """For each of these rows for how many seconds Redis has held that it was applied; None if it does not
    know of that. One round trip."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.time()
        pipeline.zmscore(keys.receipts(), [str(row) for row in rows])
        (seconds, microseconds), given = pipeline.execute()
    now = seconds + microseconds / 1e6
    return [None if at is None else now - float(at) for at in given]


def forget_receipts(rows: Sequence[int]) -> None:
    """They are needed no more. One round trip, repeatable."""
    with edge():
        client().zrem(keys.receipts(), *rows)


def likes_changed(user: Any) -> None:
    """What the user likes has changed. One round trip, repeatable."""
    with edge():
        client().delete(keys.likes(user))
