"""Who follows whom: one transaction, then the follower list."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from django.db import IntegrityError, transaction
from more_itertools import batched

from .conf import conf
from .exceptions import FeedError
from .homefeed import followers
from .homefeed.followers import Change
from .models import Follow

logger = logging.getLogger(__name__)

ROWS_PER_TRANSACTION = 1_000


def follow(follower: Any, followee: Any) -> bool:
    """Makes `follower` follow `followee` (users or ids); False if he did already.

    Raises `ValueError` for oneself and `IntegrityError` for users that are not there.
    """
    follower, followee = _id(follower), _id(followee)
    if follower == followee:
        raise ValueError("Nobody can follow himself; his own photos are in his feed anyway.")
    with transaction.atomic():
        row, made = Follow.objects.get_or_create(follower_id=follower, followee_id=followee)
        # Brought in also if the row was there before: it may not have reached Redis then.
        _on_commit(followee, [Change("follow", follower, row.pk)], then=_build_if_small)
    return made


def unfollow(follower: Any, followee: Any) -> bool:
    """Ends it; False if `follower` did not follow `followee`. O(1) in Redis."""
    follower, followee = _id(follower), _id(followee)
    with transaction.atomic():
        row = Follow.objects.select_for_update().filter(follower_id=follower, followee_id=followee).first()
        if row is None:
            return False
        change = Change("unfollow", follower, row.pk)
        row.delete()
        _on_commit(followee, [change])
    return True


def follow_many(followers_: Iterable[Any], followee: Any) -> int:
    """Makes many users follow one, for imports; returns how many did not before.

    1,000 rows a transaction, so that an import that is interrupted keeps what it has; it may be
    repeated. Oneself among them is left out.
    """
    followee = _id(followee)
    made = 0
    for some in batched(followers_, ROWS_PER_TRANSACTION):
        ids = dict.fromkeys(_id(user) for user in some)
        ids.pop(followee, None)
        made += _follow_at_once(list(ids), followee)
    transaction.on_commit(lambda: _tidy(followee))
    return made


def _follow_at_once(ids: list[Any], followee: Any) -> int:
    try:
        with transaction.atomic():
            known = set(
                Follow.objects.filter(followee_id=followee, follower_id__in=ids).values_list(
                    "follower_id", flat=True
                )
            )
            rows = Follow.objects.bulk_create(
                [Follow(follower_id=user, followee_id=followee) for user in ids if user not in known]
            )
            _on_commit(followee, [Change("follow", row.follower_id, row.pk) for row in rows])
    except IntegrityError:
        if len(ids) == 1:
            raise
        # One of them followed by himself in this moment, or is not there: find out which.
        return sum(follow(user, followee) for user in ids)
    return len(rows)


def user_is_deleted(sender: Any, instance: Any, **_: Any) -> None:
    """Takes a user who is deleted out of the lists of those he followed, and drops his own keys."""
    user = instance.pk
    rows = list(Follow.objects.filter(follower_id=user).values_list("followee_id", "id"))
    for followee, row in rows:
        _on_commit(followee, [Change("unfollow", user, row)])
    transaction.on_commit(lambda: _in_redis(user, lambda: followers.forget(user)), robust=True)


def _on_commit(followee: Any, changes: list[Change], then: Callable[[Any], None] | None = None) -> None:
    def bring_in() -> None:
        followers.apply(followee, changes)
        if then:
            then(followee)

    transaction.on_commit(lambda: _in_redis(followee, bring_in), robust=True)


def _build_if_small(followee: Any) -> None:
    """Makes a list that is missing, unless it is a large one: that waits for its first fan-out."""
    if followers.exist(followee):
        return
    if Follow.objects.filter(followee_id=followee)[: conf.BATCH_SIZE + 1].count() <= conf.BATCH_SIZE:
        followers.ensure(followee)


def _tidy(followee: Any) -> None:
    """After an import: the list exists, and the import's marks do not stay."""

    def tidy() -> None:
        followers.ensure(followee)
        if followers.compaction_is_due(followee):
            followers.compact(followee)

    _in_redis(followee, tidy)


def _in_redis(user: Any, change: Callable[[], None]) -> None:
    """SQL has committed; if Redis does not follow now, say so and go on."""
    try:
        change()
    except FeedError as error:
        logger.error("a change of the followers of user %s is in SQL only: %s", user, error)


def _id(user: Any) -> Any:
    return getattr(user, "pk", user)
