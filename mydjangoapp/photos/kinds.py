"""Kinds of rows in the cache: under which keys they are kept, and when what is kept counts."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from . import keys
from .recent import Recent

MOST_TOGETHER = 1_000  # rows in one entry, some 30 bytes each
REMEMBERED = 5_000  # rows of each kind, at most twice as many: some megabytes in each process

# Kind by kind what this process remembers: by id the stamp and the row.
_recent: defaultdict[str, Recent[Any, tuple[int, Any]]] = defaultdict(lambda: Recent(REMEMBERED))


@dataclass(frozen=True)
class Kind:
    """What is kept under one name: `load` gets ids and returns what SQL has of them, in one query.

    Rows are stamped, or, `together`, the name itself changes when they do, and all are in one entry: that is
    for what belongs to one reader. `kept=False` goes to SQL each time.
    """

    name: str
    load: Callable[[list[Any]], Mapping[Any, Any]]
    as_row: Callable[[Iterable[Any]], Any] = tuple
    """Makes a row of the tuple that is kept of it: a pickle that names no class outlives a new version."""
    as_tuple: Callable[[Any], tuple[Any, ...]] = tuple
    """Makes that tuple."""
    together: bool = False
    kept: bool = True


class Wanted:
    """Rows of one kind that somebody asks for."""

    def __init__(self, kind: Kind, ids: Iterable[Any]) -> None:
        self.kind = kind
        self.ids = list(dict.fromkeys(ids))

    def names(self) -> Iterable[str]:
        """The keys to look up first."""
        return ()

    def second_names(self, found: Mapping[str, Any]) -> Iterable[str]:
        """The keys to look up when these have been found."""
        return ()

    def read(self, found: Mapping[str, Any]) -> dict[Any, Any]:
        """The rows that count."""
        return {}

    def new_stamps(self, missing: Iterable[Any], found: Mapping[str, Any]) -> dict[str, int]:
        """What has to be in the cache before these rows are read from SQL, so that they can be kept."""
        return {}

    def entries(self, found: Mapping[str, Any], loaded: Mapping[Any, Any]) -> dict[str, Any]:
        """What is to be put into the cache, after these rows have been read from SQL. A row that is not there
        is not kept: it may be on its way."""
        return {}


class OneByOne(Wanted):
    """An entry for each row: the stamp it was read under, and the row."""

    def __init__(self, kind: Kind, ids: Iterable[Any]) -> None:
        super().__init__(kind, ids)
        recent = self._all_recent = _recent[kind.name]
        self._stamps = stamps(kind.name, self.ids)
        self._recent = {id_: had for id_ in self.ids if (had := recent.get(id_))}
        unknown = [id_ for id_ in self.ids if id_ not in self._recent]
        self._entries = keys.cached(kind.name, unknown) if unknown else {}

    def names(self) -> Iterable[str]:
        return (*self._stamps.values(), *self._entries.values())

    def second_names(self, found: Mapping[str, Any]) -> Iterable[str]:
        void = [id_ for id_, had in self._recent.items() if had[0] != found.get(self._stamps[id_])]
        if not void:
            return ()
        for id_ in void:
            del self._recent[id_]
            self._all_recent.forget(id_)
        asked = keys.cached(self.kind.name, void)
        self._entries |= asked
        return asked.values()

    def read(self, found: Mapping[str, Any]) -> dict[Any, Any]:
        rows = {id_: had[1] for id_, had in self._recent.items()}
        for id_, name in self._entries.items():
            entry = found.get(name)
            if entry is not None and entry[0] == found.get(self._stamps[id_]):
                rows[id_] = row = self.kind.as_row(entry[1])
                self._all_recent.keep(id_, (entry[0], row))
        return rows

    def new_stamps(self, missing: Iterable[Any], found: Mapping[str, Any]) -> dict[str, int]:
        return {name: new_stamp() for id_ in missing if (name := self._stamps[id_]) not in found}

    def entries(self, found: Mapping[str, Any], loaded: Mapping[Any, Any]) -> dict[str, Any]:
        entries = {}
        for id_, row in loaded.items():
            stamp = found.get(self._stamps[id_])
            if row is not None and stamp is not None:
                entries[keys.cached(self.kind.name, [id_])[id_]] = (stamp, self.kind.as_tuple(row))
                self._all_recent.keep(id_, (stamp, row))
        return entries


class Together(Wanted):
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


def wanted(kind: Kind, ids: Iterable[Any]) -> Wanted:
    """These rows, kept as their kind is."""
    if not kind.kept:
        return Wanted(kind, ids)
    return Together(kind, ids) if kind.together else OneByOne(kind, ids)


def recent(kind: Kind, ids: Iterable[Any]) -> list[Any]:
    """The rows of a stamped kind that this process has used lately; they may have changed since."""
    get = _recent[kind.name].get
    return [had[1] for id_ in ids if (had := get(id_))]


def stamps(kind: str, ids: Iterable[Any]) -> dict[Any, str]:
    """For each id what its stamp is kept under."""
    return keys.cached(f"{kind}-stamp", ids, keys.STAMPS_VERSION)


def new_stamp() -> int:
    """One that there never was: a number, which caches keep as it is and do not pickle."""
    return secrets.randbits(63)
