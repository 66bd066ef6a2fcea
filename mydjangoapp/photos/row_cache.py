"""Rows of SQL in Django's cache, several kinds at a time, never older than the last change.

Deleting a cache entry when its row changes leaves a race: a reader who read SQL just before may write
the old row back. So a change puts a new *stamp* beside the entry (`changed`); an entry counts only
with the stamp that was there before its row was read. The idea is that of leases in "Scaling Memcache
at Facebook" (NSDI 2013), without their waiting.

A stamp is a number that never comes again, and a row without one gets it before SQL is read. So a process
may also remember rows by itself: it then asks the cache for the stamps only, and a stamp that is another
one, or gone with a cache that was emptied, voids what it remembers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.cache import cache, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from ..conf import conf
from ..connections import database, patience
from ..connections.breaker import Breaker
from . import kinds

logger = logging.getLogger(__name__)

breaker = Breaker(seconds=2.0)
PATIENCE = 0.4  # seconds; a cache that takes longer is worse than none
STAMPS_LIVE_LONGER = 2  # times as long as entries, which count no longer without it


def fetch(*asked: tuple[kinds.Kind, Iterable[Any]]) -> list[dict[Any, Any]]:
    """For each kind its rows by id; what SQL does not have is left out.

    One `get_many` for all kinds together, and another if rows that this process remembers have changed. For
    each kind that has misses a query, and for all of them together a `set_many` before and one after.

    Keeps nothing that may be older than the last change although it was read after it: rows that were read by
    a transaction with a view of its own.
    """
    wanted = [kinds.wanted(kind, ids) for kind, ids in asked]
    found = _get_many([name for one in wanted for name in one.names()])
    answered = found is not None
    found = found or {}
    second = [name for one in wanted for name in one.second_names(found)]
    if second and answered:
        found |= _get_many(second) or {}
    results = [one.read(found) for one in wanted]
    missing = [[id_ for id_ in one.ids if id_ not in rows] for one, rows in zip(wanted, results, strict=True)]
    if not any(missing):
        return results
    may_keep = answered and database.sees_what_is_committed()
    if may_keep:
        stamps: dict[str, Any] = {}
        for one, ids in zip(wanted, missing, strict=True):
            stamps |= one.new_stamps(ids, found)
        if _set_many(stamps, times=STAMPS_LIVE_LONGER):
            found |= stamps
    new: dict[str, Any] = {}
    for one, ids, rows in zip(wanted, missing, results, strict=True):
        if ids:
            loaded = one.kind.load(ids)
            rows.update((id_, row) for id_, row in loaded.items() if row is not None)
            if may_keep:
                new |= one.entries(found, loaded)
    if breaker.allows():
        _set_many(new)
    return results


def changed(kind: str, *ids: Any) -> bool:
    """Voids the entries of rows that have been changed or deleted. Call it when that is committed. False if
    the cache did not take it: then call it again later.

    Tried even while the cache is not asked otherwise: an entry must not outlive its row.
    """
    stamp = kinds.new_stamp()
    stamps = dict.fromkeys(kinds.stamps(kind, ids).values(), stamp)
    return _set_many(stamps, times=STAMPS_LIVE_LONGER)


def is_shared() -> bool:
    """Whether Django's default cache is seen by all processes. If not, nothing is kept in it: another
    process's change would go unnoticed."""
    return not isinstance(caches["default"], LocMemCache | DummyCache)


def _get_many(names: list[str]) -> dict[str, Any] | None:
    """What the cache has of these; None if it was not asked or did not answer."""
    if not names or not is_shared() or not breaker.allows():
        return None
    try:
        with watched():
            return cache.get_many(names)
    except Exception as error:  # each backend raises its own
        logger.warning("the cache does not answer (%s): reading from SQL", error)
        return None


def _set_many(entries: Mapping[str, Any], times: int = 1) -> bool:
    if not entries or not is_shared():
        return True
    if patience.is_over():
        return False
    try:
        with watched():
            failed = cache.set_many(dict(entries), conf.CACHE_SECONDS * times)
        if failed:
            logger.warning("the cache did not take %d of %d entries", len(failed), len(entries))
        return not failed
    except Exception as error:  # each backend raises its own
        logger.warning("the cache does not answer (%s)", error)
        return False


@contextmanager
def watched() -> Iterator[None]:
    """Around a call of the cache: one that takes too long is the last for some seconds."""
    began = time.monotonic()
    try:
        with patience.waiting():
            yield
    finally:
        # By the clock, because some backends swallow their time-outs.
        if time.monotonic() - began > PATIENCE:
            breaker.trip()
        else:
            breaker.reset()
