"""Many follows at once, for imports."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.db import IntegrityError
from more_itertools import batched

from .. import domain_events
from ..connections import database
from ..exceptions import Blocked
from ..homefeed import followers
from ..homefeed.followers import Change
from ..models import Block, Follow, PastFollow, UserId
from .commits import bring_in_on_commit, in_redis
from .follows import follow
from .ids import id_of
from .locks import lock_to_follow

ROWS_PER_TRANSACTION = 1_000


def follow_many(followers_: Iterable[Any], followee: Any, *, announce: bool = True) -> int:
    """Makes many users follow one; returns how many did not follow before.

    `announce=False` publishes no `user.followed`. Commits 1,000 rows at a time, so an interrupted import
    keeps what it has. May be repeated. Leaves out the followee itself and users who block or are blocked.
    """
    followee_id = id_of(followee)
    made = 0
    for some in batched(followers_, ROWS_PER_TRANSACTION):
        follower_ids = dict.fromkeys(id_of(user) for user in some)
        follower_ids.pop(followee_id, None)
        made += _follow_at_once(list(follower_ids), followee_id, announce)
    database.on_commit(partial(in_redis, followee_id, partial(_tidy, followee_id)))
    return made


def _follow_at_once(follower_ids: list[UserId], followee_id: UserId, announce: bool) -> int:
    try:
        with database.atomic():
            lock_to_follow(follower_ids, followee_id)
            left_out = _following_or_blocked(follower_ids, followee_id)
            new_ids = [user_id for user_id in follower_ids if user_id not in left_out]
            database.primary(PastFollow).filter(followee=followee_id, follower__in=new_ids).delete()
            rows = [Follow(follower_id=user_id, followee_id=followee_id) for user_id in new_ids]
            rows = Follow.objects.bulk_create(rows)
            if announce:
                domain_events.users_followed((row.follower_id, followee_id) for row in rows)
            bring_in_on_commit(followee_id, [Change("follow", row.follower_id, row.pk) for row in rows])
    except IntegrityError:
        if len(follower_ids) == 1:
            raise
        # One of them made the same follow at this moment, or does not exist: find out which.
        return sum(_follow_unless_blocked(user_id, followee_id, announce) for user_id in follower_ids)
    return len(rows)


def _following_or_blocked(follower_ids: list[UserId], followee_id: UserId) -> set[UserId]:
    following = database.primary(Follow).filter(followee=followee_id, follower__in=follower_ids)
    blocked = database.primary(Block).filter(blocker=followee_id, blocked__in=follower_ids)
    blocking = database.primary(Block).filter(blocked=followee_id, blocker__in=follower_ids)
    return {
        *following.values_list("follower_id", flat=True),
        *blocked.values_list("blocked_id", flat=True),
        *blocking.values_list("blocker_id", flat=True),
    }


def _follow_unless_blocked(follower_id: UserId, followee_id: UserId, announce: bool) -> bool:
    try:
        return follow(follower_id, followee_id, announce=announce)
    except Blocked:
        return False


def _tidy(followee_id: UserId) -> None:
    """Makes sure that the list exists, and drops the marks of the import."""
    followers.ensure(followee_id)
    if followers.due_for_compaction([followee_id]):
        followers.compact(followee_id)
