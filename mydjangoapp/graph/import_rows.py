"""A graph that exists already, brought along: rows by the thousand, in any mixture of authors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Exists, Max, OuterRef, QuerySet
from django.utils import timezone
from more_itertools import batched

from .. import domain_events, outbox
from ..connections import database
from ..models import Block, Follow, PastFollow
from . import import_postgres
from .import_postgres import Inserted
from .in_order import Position, in_order
from .locks import lock_users

ROWS_PER_TRANSACTION = 20_000
SIDE_BY_SIDE = 2  # transactions, on PostgreSQL: one of its processes makes some 20,000 rows a second
VALUES_PER_QUERY = 5_000  # SQLite takes some 32,000
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
    side_by_side: int = SIDE_BY_SIDE,
    progress: Callable[[int], None] = lambda number: None,
) -> Mapping[str, int]:
    """Makes follows with the dates they have; returns how many were `made`, and how many left out for which
    reason.

    In the order of `rows`, which becomes the order of the lists: give the oldest first. `by`: the field of
    the user model that names users in the rows. No events, unless `announce`: nobody is told of a follow of
    years ago. `progress` is called with the number of rows after each transaction of 20,000. On PostgreSQL
    two run at a time, on connections of their own; give `side_by_side=1` where the caller's connection has a
    state that others lack (a tenant's schema, a role). They commit in the order of the rows. If it is
    interrupted, call it again with the same rows: follows that exist are left out. Home feeds of the new
    followers, and follower lists of the authors, are dropped; they are built anew from SQL where they are
    needed. Raises `ValueError` for a value that names no user.
    """
    counts: Counter[str] = Counter()
    as_name = _names(by)
    batches = (
        [Row(as_name(row.follower), as_name(row.followee), row.created_at) for row in batch]
        for batch in batched(rows, ROWS_PER_TRANSACTION)
    )
    if not import_postgres.is_usable_side_by_side():
        side_by_side = 1
    work = partial(_import, by, announce)
    done = in_order(work, batches, side_by_side=side_by_side, meet=_have_a_pair_in_common)
    with closing(done):
        for batch_counts in done:
            counts += batch_counts
            progress(batch_counts.total())
    return counts


def _have_a_pair_in_common(batch: Sequence[Row], other: Sequence[Row]) -> bool:
    # One transaction would wait for the other's row, and that one for its place in the order.
    return not {row[:2] for row in batch}.isdisjoint(row[:2] for row in other)


def _import(by: str, announce: bool, rows: Sequence[Row], position: Position) -> Counter[str]:
    with database.atomic():
        if import_postgres.is_usable():
            done = import_postgres.insert(rows, by, position)
        else:
            done = _insert(rows, by)
        if done.first is not None and done.last is not None:
            _end_past_follows(done.first, done.last)
            outbox.follows_imported(done.first, done.last)
            if announce:
                domain_events.users_followed(_pairs(done.first, done.last))
        position.wait_to_commit()
    there = len(rows) - done.unknown - done.oneself - done.blocked - done.made
    numbers = {UNKNOWN: done.unknown, ONESELF: done.oneself, BLOCKED: done.blocked, THERE: there}
    return Counter({"made": done.made, **numbers})


def _names(by: str) -> Callable[[Any], Any]:
    """Makes of a user in a row the value of the field that names users."""
    users: Any = get_user_model()._meta
    to_python: Callable[[Any], Any] = (users.pk if by == "pk" else users.get_field(by)).to_python

    def as_name(user: Any) -> Any:
        if by == "pk" and hasattr(user, "pk"):
            return user.pk
        try:
            return to_python(user)
        except ValidationError as error:
            raise ValueError(f"{user!r} does not name a user.") from error

    return as_name


def _insert(rows: Sequence[Row], by: str) -> Inserted:
    """By Django's ORM, for every database that it knows."""
    names = {user for row in rows for user in (row.follower, row.followee)}
    users = get_user_model()._base_manager.using(database.writer())
    ids: dict[Any, Any] = {}
    for some in batched(names, VALUES_PER_QUERY):
        ids.update(users.filter(**{f"{by}__in": some}).values_list(by, "pk"))
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
    both_ways = set()
    for some in batched(users, VALUES_PER_QUERY):
        for one, other in blocks.filter(blocker__in=some).values_list("blocker_id", "blocked_id"):
            both_ways |= {(one, other), (other, one)}
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
