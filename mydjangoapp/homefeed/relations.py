"""Telling readers that what they have derived from a user's relations or likes is no longer so."""

from __future__ import annotations

from typing import Any

from . import keys
from .feeds_redis import client, edge


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


def likes_changed(user: Any) -> None:
    """What the user likes has changed. One round trip, repeatable."""
    with edge():
        client().delete(keys.likes(user))
