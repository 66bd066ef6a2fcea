"""The follower lists: bringing changes in, making a list anew from SQL, throwing the dead ones out.

A list is a projection of the `Follow` rows and only ever appended to (see `lua/apply_changes.lua`).
Every change carries a version made of its row's id, so that changes of the same two users that
arrive twice or in the wrong order come out right.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.db.models import QuerySet
from more_itertools import batched

from ..conf import conf
from ..connections import database
from ..connections.paging import in_pages
from ..exceptions import FollowersBeingRebuilt
from ..models import FanOut, Follow, UserId
from . import delivery, keys, scripts
from .feeds_redis import client, edge

CHANGES_PER_CALL = 200  # about 0.6 ms in Redis
ENTRIES_PER_CALL = 500  # about 0.7 ms in Redis
Call = tuple[list[str], list[Any]]
"""Keys and arguments of a script."""


@dataclass(frozen=True)
class Change:
    """A follow or unfollow that SQL has committed. `follow_id` is the id of the `Follow` row made or
    deleted."""

    verb: Literal["follow", "unfollow"]
    follower_id: UserId
    follow_id: int

    @property
    def version(self) -> int:
        """Grows with each change of the same two users: a row is deleted after it was made."""
        return 2 * self.follow_id + (self.verb == "unfollow")

    def still_holds(self, author_id: UserId) -> bool:
        """Whether SQL agrees: the row is there (follow), or no row of the two is (unfollow)."""
        rows = follows().filter(follower_id=self.follower_id, followee_id=author_id)
        return rows.filter(id=self.follow_id).exists() if self.verb == "follow" else not rows.exists()


def follows() -> QuerySet[Follow]:
    """All `Follow` rows."""
    # Of the writer: a replica may not have the change yet that this is about.
    return database.primary(Follow)


def _change_keys(author_id: UserId) -> list[str]:
    of_list = [keys.followers(author_id), keys.marks(author_id), keys.state(author_id)]
    return [*of_list, keys.rewrite(author_id), keys.next_followers(author_id), keys.next_marks(author_id)]


def apply(author_id: UserId, changes: Iterable[Change]) -> None:
    """Brings committed changes into the author's list. May be repeated; order does not matter.

    A list that is missing stays so: it is rebuilt from SQL, which has the changes, when it is needed.
    Two round trips per 200 changes. Raises `FeedsUnavailable`, `FeedsRefused`.
    """
    for some in batched(changes, CHANGES_PER_CALL):
        results = _apply(author_id, some, force=False)
        unknown = [change for change, result in zip(some, results, strict=True) if result == b"unknown"]
        if holding := [change for change in unknown if change.still_holds(author_id)]:
            _apply(author_id, holding, force=True)
        _void_feeds(some)


def _apply(author_id: UserId, changes: Sequence[Change], *, force: bool) -> list[bytes]:
    arguments: list[object] = [int(force)]
    for change in changes:
        arguments += [change.verb, str(change.follower_id), change.version]
    results: list[bytes] = scripts.apply_changes(_change_keys(author_id), arguments)
    return results


def _void_feeds(changes: Sequence[Change]) -> None:
    """Tells readers that these followers see other people than before. The older photos of a new followee
    belong into the feed, so it is to be built anew. After the list has the change: a feed that was built from
    SQL before would lack photos that were delivered in between."""
    users = [change.follower_id for change in changes]
    new = [change.follower_id for change in changes if change.verb == "follow"]
    with edge():
        client().delete(*keys.of_many((keys.relations,), users), *keys.of_many((keys.token, keys.floor), new))


def exist(author_id: UserId) -> bool:
    """Whether the author has a follower list. One round trip."""
    with edge():
        return bool(client().exists(keys.followers(author_id)))


def count(author_id: UserId) -> int:
    """Entries of the author's list: followers, and those gone since the last compaction.
    One round trip."""
    with edge():
        return int(client().llen(keys.followers(author_id)))


def are_more_than(author_id: UserId, number: int) -> bool:
    """Whether the author has more followers than that in SQL, or none there and a list filled by hand."""
    found = rows_of(author_id)[: number + 1].count()
    return found > number or (found == 0 and exist(author_id))


def rows_of(author_id: UserId) -> QuerySet[Follow]:
    """The author's rows in the order of their index. Without an order, PostgreSQL reads the table from its
    beginning for the first followers of somebody who has very many: it expects them to be everywhere."""
    return follows().filter(followee_id=author_id).order_by("followee_id", "id")


def are_in_sql(author_id: UserId) -> bool:
    """Whether SQL has a follower of this author."""
    return bool(rows_of(author_id).values_list("id")[:1])


def ensure(author_id: UserId) -> bool:
    """Rebuilds the author's list from SQL if it is missing. True if it has members afterwards.

    Raises `FollowersBeingRebuilt` while another process is at it.
    """
    if exist(author_id):
        return True
    if not are_in_sql(author_id):
        return False
    if rebuild(author_id) > 0 or exist(author_id):
        return True
    if are_in_sql(author_id):
        raise FollowersBeingRebuilt(f"The follower list of {author_id} is on its way; try again in a moment.")
    return False


def rebuild(author_id: UserId) -> int:
    """Makes the list anew from the `Follow` rows, oldest first; returns how many it read.

    Follows and unfollows meanwhile are kept. A list that is there is replaced unless one of the
    author's fan-outs is under way; then nothing happens and 0 is returned.
    SQL is read, and Redis written, 500 rows at a time. Raises `FollowersBeingRebuilt`.
    """
    rewrite = _begin(author_id, must_exist=False)
    if rewrite is None:
        return 0
    last = read = 0
    for rows in _rows(author_id):
        if scripts.append_rewrite(*append_call(author_id, rewrite, last, rows)) != b"appended":
            raise FollowersBeingRebuilt(f"Another process took over rebuilding the followers of {author_id}.")
        last, read = rows[-1][0], read + len(rows)
    outcome = _swap(author_id, rewrite, highest=2 * last + 1, copied=False)
    if outcome == b"lost":
        raise FollowersBeingRebuilt(f"Another process took over rebuilding the followers of {author_id}.")
    return read if outcome == b"swapped" else 0


def _rows(author_id: UserId) -> Iterator[list[tuple[int, UserId]]]:
    rows = follows().filter(followee_id=author_id).values_list("id", "follower_id")
    return in_pages(rows, size=ENTRIES_PER_CALL)


_OF_USER = (keys.homefeed, keys.floor, keys.token, keys.running, keys.build, keys.relations, keys.likes)


def forget(user_id: UserId) -> None:
    """Drops every key of a deleted user. One round trip, repeatable."""
    of_user = [make(user_id) for make in _OF_USER]
    with edge():
        client().unlink(*_change_keys(user_id), *of_user)


def drop(author_ids: Iterable[UserId]) -> None:
    """Drops these authors' lists, and what is being made of them: SQL has more than they could have. One
    round trip, repeatable."""
    makes = (keys.followers, keys.rewrite, keys.next_followers, keys.next_marks)
    with edge():
        client().unlink(*keys.of_many(makes, author_ids))


def missing(author_ids: Sequence[UserId]) -> list[UserId]:
    """Those of these authors who have no list. One round trip."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        for author_id in author_ids:
            pipeline.exists(keys.followers(author_id))
        there = pipeline.execute()
    return [author_id for author_id, exists in zip(author_ids, there, strict=True) if not exists]


def due_for_compaction(author_ids: Sequence[UserId]) -> list[UserId]:
    """Those authors whose lists have so many marks that they are worth rewriting. One round trip."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        for author_id in author_ids:
            pipeline.hlen(keys.marks(author_id))
            pipeline.llen(keys.followers(author_id))
        numbers = pipeline.execute(raise_on_error=False)
    sizes = zip(author_ids, numbers[::2], numbers[1::2], strict=True)
    return [author_id for author_id, marked, length in sizes if _is_worth_it(marked, length)]


def _is_worth_it(marked: Any, length: Any) -> bool:
    # A key of a wrong type gives an error instead of a number; verify_feeds reports that one.
    return (
        isinstance(marked, int)
        and isinstance(length, int)
        and marked >= max(conf.COMPACT_AFTER, length // 10)
    )


def compact(author_id: UserId) -> bool:
    """Rewrites the list without its dead entries and drops the marks. True if it did.

    Leaves it as it is while a fan-out of the author is under way, and gives up when one begins.
    Follows and unfollows meanwhile are kept. One round trip per 500 entries, each under 1 ms in Redis.
    """
    try:
        rewrite = _begin(author_id, must_exist=True)
    except FollowersBeingRebuilt:
        return False
    if rewrite is None:
        return False
    names = [keys.followers(author_id), keys.marks(author_id), keys.rewrite(author_id)]
    names += [keys.next_followers(author_id), keys.next_marks(author_id)]
    while True:
        while (left := scripts.copy_rewrite(names, [rewrite, ENTRIES_PER_CALL])) > 0:
            pass
        if left < 0:
            return False
        outcome = _swap(author_id, rewrite, highest=0, copied=True)
        if outcome != b"more":
            return outcome == b"swapped"


def _begin(author_id: UserId, *, must_exist: bool) -> str | None:
    rewrite = secrets.token_hex(8)
    call = begin_call(author_id, rewrite, must_exist=must_exist)
    outcome = scripts.begin_rewrite(*call)
    if outcome == b"not now" and _clear_ended(author_id):
        outcome = scripts.begin_rewrite(*call)
    if outcome == b"held":
        raise FollowersBeingRebuilt(
            f"The follower list of {author_id} is being rewritten; try again in a moment."
        )
    return rewrite if outcome == b"begun" else None


def begin_call(author_id: UserId, token: str, *, must_exist: bool) -> Call:
    """Keys and arguments that reserve a rewrite of the author's list."""
    names = [keys.followers(author_id), keys.state(author_id), keys.rewrite(author_id)]
    names += [keys.next_followers(author_id), keys.next_marks(author_id), keys.running(author_id)]
    return names, [token, conf.LEASE_SECONDS, int(must_exist), keys.fanout(author_id, "")]


def append_call(author_id: UserId, token: str, last: int, rows: Sequence[tuple[int, UserId]]) -> Call:
    """Keys and arguments that add rows from SQL behind the one with the id `last`."""
    names = [keys.rewrite(author_id), keys.next_followers(author_id), keys.next_marks(author_id)]
    return names, [token, last, rows[-1][0], *(str(follower) for _, follower in rows)]


def swap_call(author_id: UserId, token: str, highest: int, *, copied: bool = False) -> Call:
    """Keys and arguments that put the new list in its place."""
    arguments = [token, highest, secrets.token_hex(8), int(copied)]
    return [*_change_keys(author_id), keys.running(author_id)], arguments


def _clear_ended(author_id: UserId) -> bool:
    """Clears away what Redis still holds of fan-outs that have ended as the ledger says: it was away when
    they were given up or cancelled. True if there was any."""
    photos = delivery.under_way(author_id)
    ended = database.primary(FanOut).filter(photo_id__in=photos).exclude(state__in=FanOut.OPEN)
    cleared = list(ended.values_list("photo_id", flat=True))
    for photo in cleared:
        delivery.cancel(photo, author_id)
    return bool(cleared)


def _swap(author_id: UserId, rewrite: str, *, highest: int, copied: bool) -> bytes:
    outcome: bytes = scripts.swap_rewrite(*swap_call(author_id, rewrite, highest, copied=copied))
    return outcome
