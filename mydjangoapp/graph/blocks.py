"""Blocking and unblocking."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext

from ..connections import database
from ..models import Block, PastFollow
from .commits import drop_feed_on_commit, tell_readers_on_commit
from .follows import end_follow
from .ids import id_of, two_ids
from .locks import lock_to_block


def block(blocker: Any, blocked: Any) -> bool:
    """Ends following both ways and keeps both from following again; returns False if that was so already.

    Raises `ValueError` if both are the same user, and `IntegrityError` for a user that does not exist.
    """
    blocker_id, blocked_id = two_ids(blocker, blocked, gettext("You cannot block yourself."))
    with database.atomic():
        lock_to_block(blocker_id, blocked_id)
        _, made = Block.objects.get_or_create(blocker_id=blocker_id, blocked_id=blocked_id)
        for follower_id, followee_id in ((blocker_id, blocked_id), (blocked_id, blocker_id)):
            end_follow(follower_id, followee_id)
            kept = database.primary(PastFollow).filter(follower=follower_id, followee=followee_id)
            if kept.delete()[0]:
                drop_feed_on_commit(follower_id)
        tell_readers_on_commit(blocker_id, blocked_id)
    return made


def unblock(blocker: Any, blocked: Any) -> bool:
    """Ends the block; returns False if there was none. Earlier follows do not come back."""
    blocker_id, blocked_id = id_of(blocker), id_of(blocked)
    with database.atomic():
        deleted, _ = database.primary(Block).filter(blocker=blocker_id, blocked=blocked_id).delete()
        tell_readers_on_commit(blocker_id, blocked_id)
    return bool(deleted)
