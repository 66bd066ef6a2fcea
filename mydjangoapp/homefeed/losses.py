"""A node of a cluster that has lost what it had for good, as when a replica with old data took its place.

Fan-outs that were `done` and changes that were forgotten may be among what is lost, so nobody would deliver
them again. It is noticed by texts that are written to each node, of which SQL knows the last that its disk
and replica had: it is missing there. Then the node's follower lists are dropped and its floors voided, some
thousand keys a call, so that SQL is not asked for all of them at once: lists come back with the author's next
photo, feeds at their next read.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from django.utils import timezone

from ..conf import conf
from ..connections import database
from ..connections.patience import Budget
from ..connections.redis_cluster import Cluster
from ..exceptions import FeedsRefused, FeedsUnavailable
from ..models import NodeHistory, UserId
from ..models.user_id import id_of
from . import feeds_redis, followers, keys

logger = logging.getLogger(__name__)

KEYS_AT_ONCE = 500
KEYS_PER_CALL = 5_000  # of one node; beat calls every few seconds


def watch() -> None:
    """Looks whether each node still has what it had for good, and notes how far it has come since; every
    `SETTLE_SECONDS`, on a cluster only. Four round trips and a query per node. Raises `FeedsUnavailable`,
    `FeedsRefused`."""
    client = feeds_redis.client()
    if not isinstance(client, Cluster):
        return
    now = timezone.now()
    known = {row.slot: row for row in database.primary(NodeHistory).all()}
    if known and all(_is_new(row, now) for row in known.values()):
        return
    with feeds_redis.edge():
        # In this order: what a node has by then is what it is asked about.
        nodes = client.remembered(keys.history)
        safe = client.kept(keys.settled).safe
    for slot, (life, texts) in nodes.items():
        row = known.get(slot)
        if not life or (row and _is_new(row, now)):
            continue
        is_lost = bool(row and row.confirmed and row.confirmed not in texts)
        if is_lost or row is None or life in safe:
            _go_on(client, slot, row, texts, is_lost=is_lost)


def _is_new(row: NodeHistory, now: datetime) -> bool:
    """A row of another process, whose clock may be another, is new for no longer than ours would be."""
    return abs(now - row.pending_at) < timedelta(seconds=conf.SETTLE_SECONDS)


def _go_on(client: Cluster, slot: int, row: NodeHistory | None, texts: list[str], *, is_lost: bool) -> None:
    """Notes what is known by now, unless another process did so meanwhile, and writes another text. SQL comes
    first: a node keeps the last hundred texts, and while SQL takes nothing none must be added."""
    pending = secrets.token_hex(6)
    if _note(slot, row, texts, pending, is_lost=is_lost):
        try:
            with feeds_redis.edge():
                client.remember(slot, keys.history(slot), pending)
        except (FeedsUnavailable, FeedsRefused) as error:
            logger.warning("the node of slot %d is not watched at the moment: %s", slot, error)


def _note(slot: int, row: NodeHistory | None, texts: list[str], pending: str, *, is_lost: bool) -> bool:
    """Changes the row; False if another process has done so since this one has read it."""
    now = timezone.now()
    rows = database.primary(NodeHistory)
    if row is None:
        first = {"pending": pending, "pending_at": now}
        return rows.get_or_create(slot=slot, defaults=first)[1]
    same = rows.filter(slot=slot, pending=row.pending)
    if not is_lost:
        # One that is missing was lost before disk and replica had it, which is no loss.
        confirmed = row.pending if row.pending in texts else row.confirmed
        return bool(same.update(confirmed=confirmed, pending=pending, pending_at=now))
    if same.update(confirmed="", pending=pending, pending_at=now, lost_at=now, life="", position="0"):
        logger.error(
            "the node of slot %d has lost writes that disk and replica had: its feeds are built anew from "
            "SQL. Run manage.py verify_feeds --repair if lists were filled by hand",
            slot,
        )
        return True
    return False


def make_up_for(budget: Budget | None = None) -> int:
    """Voids feeds and drops follower lists of nodes that have lost writes; returns how many. With a budget,
    some thousands per node, and the next call goes on. May be repeated, by several processes at once. Raises
    `FeedsUnavailable`, `FeedsRefused`."""
    client = feeds_redis.client()
    if not isinstance(client, Cluster):
        return 0
    lost = database.primary(NodeHistory).exclude(lost_at=None)
    return sum(_make_up_for(client, row, budget) for row in lost)


def _make_up_for(client: Cluster, row: NodeHistory, budget: Budget | None) -> int:
    rows = database.primary(NodeHistory).filter(slot=row.slot, lost_at=row.lost_at)
    number = seen = 0
    while budget is None or (seen < KEYS_PER_CALL and not budget.is_spent):
        with feeds_redis.edge():
            life, position, found = client.scan_where(row.slot, row.position, KEYS_AT_ONCE)
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
    """Lists first: what is delivered by an old one is missing in a feed that was built before. With floors
    the names that caches go by: they came back with the data, and what was read under them before."""
    names = [name.decode(errors="surrogateescape") for name in found]
    lists = keys.followers("")
    feeds = tuple(f"{conf.KEY_PREFIX}{word}:" for word in ("floor", "token", "relations", "likes"))
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
