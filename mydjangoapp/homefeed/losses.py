"""A node of a cluster that has lost what it had for good, as when a replica with old data took its place.

Fan-outs that were `done` and changes that were forgotten may be among what is lost, so nobody would deliver
them again. It is noticed by a counter on each node, of which SQL knows how far it had come when disk and
replica had it. Then the node's follower lists are dropped and its floors voided, some thousand keys a call,
so that SQL is not asked for all of them at once: lists come back with the author's next photo, feeds at their
next read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

from django.utils import timezone

from ..conf import conf
from ..connections import database
from ..connections.patience import Budget
from ..connections.redis_lives import Kept
from ..models import NodeHistory, UserId
from ..models.user_id import id_of
from . import feeds_redis, followers, keys

logger = logging.getLogger(__name__)

KEYS_AT_ONCE = 500
KEYS_PER_CALL = 5_000  # of one node; beat calls every few seconds


def watch() -> None:
    """Notes how far each node has come, and whether one has gone back. On a cluster two queries and two round
    trips per node. Raises `FeedsUnavailable`, `FeedsRefused`."""
    if not feeds_redis.store().is_cluster:
        return
    # Before the nodes are asked: whatever other processes add meanwhile, their counters are higher by then.
    known = {row.slot: row for row in database.primary(NodeHistory).all()}
    if kept := feeds_redis.kept():
        _note_losses(known, kept)
        _advance(known, kept)


def _note_losses(known: dict[int, NodeHistory], kept: Kept) -> None:
    for slot, node in kept.nodes.items():
        row = known.get(slot)
        if row is None or node.counter > row.value:
            continue
        logger.error(
            "the node of slot %d has lost writes that it had for good: feeds there are built anew", slot
        )
        database.primary(NodeHistory).filter(slot=slot).update(lost_at=timezone.now(), life="", position="0")
        with feeds_redis.edge():  # or it would be found again, and again
            feeds_redis.client().incrby(keys.settled(slot), row.value - node.counter + 1)


def _advance(known: dict[int, NodeHistory], kept: Kept) -> None:
    now = timezone.now()
    settled_before = now - timedelta(seconds=conf.SETTLE_SECONDS)
    rows = []
    for slot, node in kept.nodes.items():
        row = known.get(slot) or NodeHistory(slot=slot, seen_at=now)
        if not node.is_safe or row.value >= node.counter or (slot in known and row.seen_at > settled_before):
            continue
        # By now the disk has what was seen, unless a crash has taken some of it back.
        row.value, row.seen, row.seen_at = min(row.seen, node.counter - 1), node.counter, now
        rows.append(row)
    database.upsert(rows, ["value", "seen", "seen_at"])


def make_up_for(budget: Budget | None = None) -> int:
    """Voids feeds and drops follower lists of nodes that have lost writes; returns how many. With a budget,
    some thousands per node, and the next call goes on. May be repeated, by several processes at once. Raises
    `FeedsUnavailable`, `FeedsRefused`."""
    if not feeds_redis.store().is_cluster:
        return 0
    lost = database.primary(NodeHistory).exclude(lost_at=None)
    return sum(_make_up_for(row, budget) for row in lost)


def _make_up_for(row: NodeHistory, budget: Budget | None) -> int:
    rows = database.primary(NodeHistory).filter(slot=row.slot, lost_at=row.lost_at)
    number = seen = 0
    while budget is None or (seen < KEYS_PER_CALL and not budget.is_spent):
        life, position, found = feeds_redis.scan_where(row.slot, row.position, KEYS_AT_ONCE)
        if not life:
            return number  # it is cut off from the others: the next call may find another in its place
        if life != row.life and row.position != "0":
            position, found = "0", []  # another server has its keys in another order: from the beginning
        else:
            number += _void(found)
            seen += KEYS_AT_ONCE
            if position == "0":
                rows.update(lost_at=None, life="", position="0")
                return number
        row.life, row.position = life, position
        rows.update(life=life, position=position)
    return number


def _void(found: Iterable[bytes]) -> int:
    """Lists first: what is delivered by an old one is missing in a feed that was built before."""
    names = [name.decode(errors="surrogateescape") for name in found]
    lists, feeds = keys.followers(""), (f"{conf.KEY_PREFIX}floor:", f"{conf.KEY_PREFIX}token:")
    author_ids = _in_sql(name.removeprefix(lists) for name in names if name.startswith(lists))
    if author_ids:
        followers.drop(author_ids)
    if void := [name for name in names if name.startswith(feeds)]:
        with feeds_redis.edge():
            feeds_redis.client().unlink(*void)
    return len(author_ids) + len(void)


def _in_sql(texts: Iterable[str]) -> list[UserId]:
    """Those of these authors who have followers in SQL; a list that was filled by hand has none."""
    author_ids = []
    for text in texts:
        with suppress(ValueError):
            author_ids.append(id_of(text))
    rows = followers.follows().filter(followee_id__in=author_ids)
    return list(rows.order_by().values_list("followee_id", flat=True).distinct())
