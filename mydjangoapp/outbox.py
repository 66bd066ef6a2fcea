"""Bringing changes of the graph into Redis, surely: at once on commit, or else some seconds later.

What was applied leaves a receipt in Redis. A change without one is applied again when it has settled:
its process died right after the commit, Redis was away, or lost its last second in a crash (AOF
everysec), and the receipt with it. Every change may be applied any number of times, in any order
(`homefeed/followers.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from .conf import conf
from .homefeed import followers, relations
from .homefeed.followers import Change
from .models import Follow, GraphChange

logger = logging.getLogger(__name__)

AT_ONCE = 1_000  # rows a query


def note(followee: Any, changes: Sequence[Change]) -> list[int]:
    """Writes changes of one author's followers down, in the transaction that makes them; returns the
    rows' ids, for `settled`."""
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
    return [row.pk for row in GraphChange.objects.bulk_create(waiting)]


def note_relation(*users: Any) -> list[int]:
    """Writes down that whom these users want to see has changed, in the transaction that does it."""
    waiting = [GraphChange(verb="relation", follower_id=user) for user in users]
    return [row.pk for row in GraphChange.objects.bulk_create(waiting)]


def settled(rows: Sequence[int]) -> None:
    """Says that these rows' changes are in Redis. Raises `FeedsUnavailable`, `FeedsRefused`."""
    if rows:
        relations.give_receipts(rows)


def catch_up() -> int:
    """Applies what has waited long enough and has no receipt; returns how many rows that were.

    Any number may run at once. Raises `FeedsUnavailable`, `FeedsRefused`; what is left then is done the
    next time.
    """
    settled_before = timezone.now() - timedelta(seconds=conf.SETTLE_SECONDS)
    waiting = GraphChange.objects.filter(created_at__lt=settled_before).order_by("id")
    done = 0
    while rows := list(waiting[:AT_ONCE]):
        have = relations.have_receipts([row.pk for row in rows])
        held = [row.pk for row, held in zip(rows, have, strict=True) if held]
        late = [row for row, held in zip(rows, have, strict=True) if not held]
        for row in late:
            _apply(row)
        # Not forgotten yet: Redis may lose this one, too.
        settled([row.pk for row in late])
        GraphChange.objects.filter(id__in=[row.pk for row in late]).update(created_at=timezone.now())
        if held:
            GraphChange.objects.filter(id__in=held).delete()
            relations.forget_receipts(held)
        done += len(late)
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
