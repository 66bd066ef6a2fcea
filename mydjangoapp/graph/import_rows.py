"""A graph that exists already, brought along: rows by the thousand, in any mixture of authors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db.models import Exists, Max, OuterRef, QuerySet
from django.utils import timezone
from more_itertools import batched

from .. import domain_events, outbox
from ..connections import database
from ..models import Block, Follow, PastFollow
from . import import_postgres
from .ids import id_of
from .import_postgres import Inserted
from .locks import lock_users

ROWS_PER_TRANSACTION = 20_000
UNKNOWN, ONESELF, BLOCKED, THERE = "unknown users", "oneself", "blocked", "there already"


class Row(NamedTuple):
    """One follow. Users as they are called (see `by`); `created_at` None: now."""

    follower: Any
    followee: Any
    created_at: datetime | None = None


def import_follows(
    rows: Iterable[Row],
    *,
    by: str = "pk",
    announce: bool = False,
    progress: Callable[[int], None] = lambda number: None,
) -> Mapping[str, int]:
    """Makes follows with the dates they have; returns how many were `made`, and how many left out for which
    reason.

    In the order of `rows`, which becomes the order of the lists: give the oldest first. `by`: the field of
    the user model that names users in the rows. No events, unless `announce`: nobody is told of a follow of
    years ago. `progress` is called with the number of rows after each transaction of 20,000. Broken off, it
    is called again with the same rows: those that are there are left out. Where nothing is known of a photo
    that a user now follows, their home feed is read from SQL and built at their next read; follower lists
    at the author's next upload, or by `followers.ensure`. Raises `ValueError` for something that cannot be
    an id.
    """
    counts: Counter[str] = Counter()
    for some in batched(rows, ROWS_PER_TRANSACTION):
        counts += _import(some, by, announce)
        progress(len(some))
    return counts


def _import(rows: Sequence[Row], by: str, announce: bool) -> Counter[str]:
    if by == "pk":
        as_id = _ids()
        rows = [Row(as_id(row.follower), as_id(row.followee), row.created_at) for row in rows]
    else:
        rows = [Row(str(row.follower), str(row.followee), row.created_at) for row in rows]
    with database.atomic():
        done = import_postgres.insert(rows, by) if import_postgres.is_usable() else _insert(rows, by)
        if done.first is not None and done.last is not None:
            _end_past_follows(done.first, done.last)
            outbox.follows_imported(done.first, done.last)
            if announce:
                domain_events.users_followed(_pairs(done.first, done.last))
    there = len(rows) - done.unknown - done.oneself - done.blocked - done.made
    numbers = {UNKNOWN: done.unknown, ONESELF: done.oneself, BLOCKED: done.blocked, THERE: there}
    return Counter({"made": done.made, **numbers})


def _ids() -> Callable[[Any], Any]:
    """`id_of`, without looking for the user model each time."""
    to_python: Callable[[Any], Any] = get_user_model()._meta.pk.to_python
    return lambda user: to_python(user) if type(user) in (int, str) else id_of(user)


def _insert(rows: Sequence[Row], by: str) -> Inserted:
    """By Django's ORM, for every database that it knows."""
    names = {user for row in rows for user in (row.follower, row.followee)}
    users = get_user_model()._base_manager.using(database.writer()).filter(**{f"{by}__in": names})
    ids = dict(users.values_list(by, "pk"))
    lock_users(ids.values())  # blocks wait until the transaction ends
    pairs: dict[tuple[Any, Any], datetime | None] = {}
    unknown = oneself = 0
    for row in rows:
        follower, followee = ids.get(row.follower), ids.get(row.followee)
        if follower is None or followee is None:
            unknown += 1
        elif follower == followee:
            oneself += 1
        else:
            pairs.setdefault((follower, followee), row.created_at)
    blocked = _blocked(pairs)
    given = [pair for row in rows if (pair := (ids.get(row.follower), ids.get(row.followee))) in blocked]
    for pair in blocked:
        del pairs[pair]
    follows, now = database.primary(Follow), timezone.now()
    before = follows.aggregate(highest=Max("id"))["highest"] or 0
    new = [
        Follow(follower_id=follower, followee_id=followee, created_at=created_at or now)
        for (follower, followee), created_at in pairs.items()
    ]
    follows.bulk_create(new, ignore_conflicts=True)
    # Our ids are above all that there were; others' may be among them.
    made = follows.filter(id__gt=before).order_by("id").values_list("id", "follower_id", "followee_id")
    ours = [id_ for id_, *pair in made if tuple(pair) in pairs]
    first, last = (ours[0], ours[-1]) if ours else (None, None)
    return Inserted(unknown, oneself, len(given), len(ours), first, last)


def _blocked(pairs: Mapping[tuple[Any, Any], Any]) -> set[tuple[Any, Any]]:
    blocks = database.primary(Block)
    if not blocks.exists():
        return set()
    users = {user for pair in pairs for user in pair}
    between = blocks.filter(blocker__in=users, blocked__in=users).values_list("blocker_id", "blocked_id")
    both_ways = {pair for one, other in between for pair in ((one, other), (other, one))}
    return both_ways & pairs.keys()


def _made(first: int, last: int) -> QuerySet[Follow]:
    return database.primary(Follow).filter(id__gte=first, id__lte=last)


def _pairs(first: int, last: int) -> Iterable[tuple[Any, Any]]:
    # Somebody else's follow between them is announced twice, as any event may be.
    return _made(first, last).order_by("id").values_list("follower_id", "followee_id")


def _end_past_follows(first: int, last: int) -> None:
    past = database.primary(PastFollow)
    if past.exists():
        again = _made(first, last).filter(
            follower_id=OuterRef("follower_id"), followee_id=OuterRef("followee_id")
        )
        past.filter(Exists(again)).delete()
