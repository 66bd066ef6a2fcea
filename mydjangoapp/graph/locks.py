"""Keeps a follow and a block of the same two users apart."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth import get_user_model
from django.db.models import Q

from ..connections import database
from ..models import Block, UserId


def lock_to_follow(follower_ids: Iterable[UserId], followee_id: UserId) -> None:
    """Keeps blocks between these users out until the transaction ends.

    A block locks both users, so locking the followers' rows is enough. The followee's row stays free:
    followers of a celebrity must not wait for each other. Where writing the `Follow` row would wait for
    the followee's row anyway, both are locked.
    """
    user_ids = set(follower_ids)
    if not database.locks_leave_references_alone():
        user_ids.add(followee_id)
    lock_users(user_ids)


def lock_to_block(blocker_id: UserId, blocked_id: UserId) -> None:
    """Keeps follows and blocks between these two users out until the transaction ends."""
    lock_users({blocker_id, blocked_id})


def lock_users(user_ids: Iterable[UserId]) -> None:
    """Keeps follows and blocks of these users out until the transaction ends."""
    users = get_user_model()._base_manager.using(database.writer())
    database.lock(users.filter(pk__in=user_ids))


def blocks(one_id: UserId, other_id: UserId) -> bool:
    """Whether one of the two blocks the other."""
    either = Q(blocker=one_id, blocked=other_id) | Q(blocker=other_id, blocked=one_id)
    return database.primary(Block).filter(either).exists()
