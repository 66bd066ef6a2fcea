"""Rows of SQL in Django's cache, several kinds at a time, never older than the last change.

Deleting a cache entry when its row changes leaves a race: a reader who read SQL just before may write
the old row back. So a change puts a new *stamp* beside the entry (`changed`); an entry counts only
with the stamp that was there before its row was read. The idea is that of leases in "Scaling Memcache
at Facebook" (NSDI 2013), without their waiting.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from ..conf import conf
from ..connections import database, patience
from ..connections.breaker import Breaker
from . import keys

logger = logging.getLogger(__name__)

breaker = Breaker(seconds=2.0)
PATIENCE = 0.4  # seconds; a cache that takes longer is worse than none
STAMPS_LIVE_LONGER = 2  # times: an entry must never outlive the stamp that voids it


@dataclass(frozen=True)
class Kind:
    """What is kept under one name: `load` gets ids and returns what SQL has of them, in one query.

    Either `stamped`, or the name itself changes when the rows do. `kept=False` goes to SQL each time.
    """

    name: str
    load: Callable[[list[Any]], Mapping[Any, Any]]
    stamped: bool = False
    kept: bool = True


@dataclass(frozen=True)
class _Wanted:
    """A kind, and the keys of the entry and of the stamp for each id asked for."""

    kind: Kind
    entries: dict[Any, str]
    stamps: dict[Any, str]

    @classmethod
    def of(cls, kind: Kind, ids: Iterable[Any]) -> _Wanted:
        ids = dict.fromkeys(ids)
        if not kind.kept:
            return cls(kind, dict.fromkeys(ids, ""), {})
        entries = keys.cached(kind.name, ids)
        return cls(kind, entries, keys.cached(_stamp(kind.name), ids) if kind.stamped else {})


def fetch(*asked: tuple[Kind, Iterable[Any]]) -> list[dict[Any, Any]]:
    """For each kind its rows by id; what SQL does not have is left out.

    One `get_many` for all kinds together, a query for each kind that has misses, one `set_many`.

    Nothing is kept that may be older than the last change although it was read after it: what a transaction
    with a view of its own has read. And that a row is not there is not kept at all: it may be on its way.
    """
    may_keep = database.sees_what_is_committed()
    wanted = [_Wanted.of(kind, ids) for kind, ids in asked]
    names = [name for of in wanted if of.kind.kept for name in (*of.entries.values(), *of.stamps.values())]
    found = _get_many(names)
    results: list[dict[Any, Any]] = []
    new: dict[str, tuple[Any, Any]] = {}
    for of in wanted:
        rows: dict[Any, Any] = {}
        missing = []
        for id_, name in of.entries.items():
            entry = found.get(name)
            if entry is None or entry[0] != found.get(of.stamps.get(id_, "")):
                missing.append(id_)
            else:
                rows[id_] = entry[1]
        if missing:
            loaded = of.kind.load(missing)
            for id_ in missing:
                rows[id_] = loaded.get(id_)
                if of.kind.kept and may_keep and rows[id_] is not None:
                    new[of.entries[id_]] = (found.get(of.stamps.get(id_, "")), rows[id_])
        results.append({id_: row for id_, row in rows.items() if row is not None})
    if breaker.allows():
        _set_many(new)
    return results


def changed(kind: str, *ids: Any) -> bool:
    """Voids the entries of rows that have been changed or deleted. Call it when that is committed. False if
    the cache did not take it: then call it again later.

    Tried even while the cache is not asked otherwise: an entry must not outlive its row.
    """
    stamp = secrets.token_hex(8)
    stamps = dict.fromkeys(keys.cached(_stamp(kind), ids).values(), stamp)
    return _set_many(stamps, times=STAMPS_LIVE_LONGER)


def _stamp(kind: str) -> str:
    return f"{kind}-stamp"


def is_shared() -> bool:
    """Whether Django's default cache is seen by all processes. If not, nothing is kept in it: another
    process's change would go unnoticed."""
    return not isinstance(caches["default"], LocMemCache | DummyCache)


def _get_many(names: list[str]) -> dict[str, Any]:
    if not names or not is_shared() or not breaker.allows():
        return {}
    try:
        with watched():
            return cache.get_many(names)
    except Exception as error:  # each backend raises its own
        logger.warning("the cache does not answer (%s): reading from SQL", error)
        return {}


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
