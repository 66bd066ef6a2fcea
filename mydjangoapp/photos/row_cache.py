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
from itertools import islice
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
MOST_TOGETHER = 1_000  # rows in one entry, some 30 bytes each
STAMPS_LIVE_LONGER = 2  # times: an entry must never outlive the stamp that voids it


@dataclass(frozen=True)
class Kind:
    """What is kept under one name: `load` gets ids and returns what SQL has of them, in one query.

    Either `stamped`, or the name itself changes when the rows do. Of such a kind `together` keeps all rows
    in one entry, for what belongs to one reader. `kept=False` goes to SQL each time.
    """

    name: str
    load: Callable[[list[Any]], Mapping[Any, Any]]
    stamped: bool = False
    as_row: Callable[[Iterable[Any]], Any] | None = None
    """Makes a row of the tuple that is kept of it: a pickle that names no class outlives a new version."""
    together: bool = False
    kept: bool = True


class _Wanted:
    """Rows of one kind that somebody asks for."""

    def __init__(self, kind: Kind, ids: Iterable[Any]) -> None:
        self.kind = kind
        self.ids = list(dict.fromkeys(ids))

    def names(self) -> Iterable[str]:
        """The keys to look up."""
        return ()

    def read(self, found: Mapping[str, Any]) -> dict[Any, Any]:
        """The rows that the cache has."""
        return {}

    def entries(self, found: Mapping[str, Any], loaded: Mapping[Any, Any]) -> dict[str, Any]:
        """What is to be put into the cache, after these rows have been read from SQL. A row that is not there
        is not kept: it may be on its way."""
        return {}


class _OneByOne(_Wanted):
    """An entry for each row: the stamp it was read under, and the row."""

    def __init__(self, kind: Kind, ids: Iterable[Any]) -> None:
        super().__init__(kind, ids)
        self._entries = keys.cached(kind.name, self.ids)
        self._stamps = keys.cached(_stamp(kind.name), self.ids) if kind.stamped else {}

    def names(self) -> Iterable[str]:
        return (*self._entries.values(), *self._stamps.values())

    def read(self, found: Mapping[str, Any]) -> dict[Any, Any]:
        rows = {}
        as_row = self.kind.as_row
        for id_, name in self._entries.items():
            entry = found.get(name)
            if entry is not None and entry[0] == found.get(self._stamps.get(id_, "")):
                rows[id_] = as_row(entry[1]) if as_row else entry[1]
        return rows

    def entries(self, found: Mapping[str, Any], loaded: Mapping[Any, Any]) -> dict[str, Any]:
        return {
            self._entries[id_]: (
                found.get(self._stamps.get(id_, "")),
                tuple(row) if self.kind.as_row else row,
            )
            for id_, row in loaded.items()
            if row is not None
        }


class _Together(_Wanted):
    """One entry for all rows. Two readers who add to it at once lose an addition, no more."""

    def __init__(self, kind: Kind, ids: Iterable[Any]) -> None:
        super().__init__(kind, ids)
        [self._name] = keys.cached(kind.name, ["all"]).values()

    def names(self) -> Iterable[str]:
        return (self._name,) if self.ids else ()

    def read(self, found: Mapping[str, Any]) -> dict[Any, Any]:
        rows = found.get(self._name) or {}
        return {id_: rows[id_] for id_ in self.ids if id_ in rows}

    def entries(self, found: Mapping[str, Any], loaded: Mapping[Any, Any]) -> dict[str, Any]:
        rows = {**loaded, **(found.get(self._name) or {})}
        return {self._name: dict(islice(rows.items(), MOST_TOGETHER))} if loaded else {}


def _wanted(kind: Kind, ids: Iterable[Any]) -> _Wanted:
    if not kind.kept:
        return _Wanted(kind, ids)
    return _Together(kind, ids) if kind.together else _OneByOne(kind, ids)


def fetch(*asked: tuple[Kind, Iterable[Any]]) -> list[dict[Any, Any]]:
    """For each kind its rows by id; what SQL does not have is left out.

    One `get_many` for all kinds together, a query for each kind that has misses, one `set_many`.

    Keeps nothing that may be older than the last change although it was read after it: rows that were read by
    a transaction with a view of its own.
    """
    may_keep = database.sees_what_is_committed()
    wanted = [_wanted(kind, ids) for kind, ids in asked]
    found = _get_many([name for one in wanted for name in one.names()])
    results: list[dict[Any, Any]] = []
    new: dict[str, Any] = {}
    for one in wanted:
        rows = one.read(found)
        if missing := [id_ for id_ in one.ids if id_ not in rows]:
            loaded = one.kind.load(missing)
            rows.update(loaded)
            if may_keep:
                new |= one.entries(found, loaded)
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
