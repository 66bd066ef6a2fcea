"""Bringing changes of the graph into Redis, surely: at once on commit, and again when they have settled.

The second time is for a process that died right after its commit, for a Redis that was away, and for
one that lost its last second in a crash (AOF everysec). Every change may be applied any number of
times, in any order (`homefeed/followers.py`), so nothing has to be remembered of the first time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from .homefeed import followers, relations
from .homefeed.followers import Change
from .models import Follow, GraphChange

logger = logging.getLogger(__name__)

SETTLED_AFTER = timedelta(seconds=3)  # everysec may lose two
AT_ONCE = 1_000  # rows a query


def note(followee: Any, changes: Sequence[Change]) -> None:
    """Writes changes of one author's followers down, in the transaction that makes them."""
    follows = [change.row for change in changes if change.verb == "follow"]
    waiting = [
        GraphChange(verb="unfollow", follower_id=change.follower, followee_id=followee, row=change.row)
        for change in changes
        if change.verb == "unfollow"
    ]
    if follows:
        waiting.append(
            GraphChange(verb="follow", followee_id=followee, row=min(follows), last_row=max(follows))
        )
    GraphChange.objects.bulk_create(waiting)


def note_relation(*users: Any) -> None:
    """Writes down that whom these users want to see has changed, in the transaction that does it."""
    GraphChange.objects.bulk_create(GraphChange(verb="relation", follower_id=user) for user in users)


def catch_up() -> int:
    """Applies what has settled and forgets it; returns how many rows that were.

    Any number may run at once. Raises `FeedsUnavailable`, `FeedsRefused`; what is left then is done the
    next time.
    """
    settled = GraphChange.objects.filter(created_at__lt=timezone.now() - SETTLED_AFTER).order_by("id")
    done = 0
    while rows := list(settled[:AT_ONCE]):
        for row in rows:
            _apply(row)
        GraphChange.objects.filter(id__in=[row.pk for row in rows]).delete()
        done += len(rows)
    return done


def _apply(row: GraphChange) -> None:
    if row.verb == GraphChange.Verb.RELATION:
        relations.changed(row.follower_id)
    elif row.verb == GraphChange.Verb.UNFOLLOW:
        followers.apply(row.followee_id, [Change("unfollow", row.follower_id, row.row)])
    else:
        # Those that are gone again have an unfollow of their own.
        rows = Follow.objects.filter(followee=row.followee_id, id__gte=row.row, id__lte=row.last_row)
        there = rows.order_by("id").values_list("follower_id", "id")
        followers.apply(
            row.followee_id,
            (Change("follow", user, id_) for user, id_ in there.iterator(chunk_size=AT_ONCE)),
        )
