"""Telling readers that what they have derived from a user's relations or likes is no longer so."""

from __future__ import annotations

from ..models import UserId
from . import keys
from .feeds_redis import client, edge


def changed(*user_ids: UserId) -> None:
    """Tells readers that these users follow, mute or block others than before. One round trip, repeatable."""
    with edge():
        client().delete(*(keys.relations(user_id) for user_id in user_ids))


def drop_feeds(*user_ids: UserId) -> None:
    """Voids these users' lists, which hold photos that no longer belong there: they are rebuilt at the
    next read. One round trip, repeatable."""
    # The token first: on a cluster a build may be swapped in between.
    kept = (keys.token, keys.floor, keys.homefeed, keys.relations)
    with edge():
        client().unlink(*keys.of_many(kept, user_ids))


def likes_changed(user_id: UserId) -> None:
    """What the user likes has changed. One round trip, repeatable."""
    with edge():
        client().delete(keys.likes(user_id))
