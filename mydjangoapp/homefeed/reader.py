"""Reading a home feed: the list in Redis down to its floor, SQL below it, one stream over both.

The list is only a hint at what may be shown: what the truth no longer has (deleted, no longer
followed, muted, blocked) is dropped, and the page filled up from what comes after. Where there is no
list, or nobody knows from where on it is complete (no floor), SQL answers, and the list is built once.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import neg
from typing import Any, NamedTuple

from django.db import transaction
from more_itertools import peekable

from ..conf import conf, imported
from ..connections import database
from ..exceptions import FeedError
from ..models import AbstractPhoto, UserId
from ..photos import row_cache, rows, visibility
from ..photos.kinds import Kind, recent
from . import ranking, rebuild
from .ranking import Place
from .snapshot import NOTHING_KNOWN, Snapshot, read

logger = logging.getLogger(__name__)

SPARE = 4  # photos looked at beyond the page's own number, for the few that are usually hidden
AT_MOST = 200  # photos looked at in one go


class Entry(NamedTuple):
    """A photo as one user sees it. `more`: how many by the same author directly follow and are left out.
    `last`: the lowest photo id that it stands for."""

    photo: rows.PhotoRow
    author: rows.AuthorRow
    liked: bool
    more: int = 0
    last: int = 0


@dataclass(frozen=True)
class Page:
    """Entries, newest first, or as `RANKING` has them. `older`: ask for what is below this place, None at the
    end of the feed; `newer`: ask for what is above this id."""

    entries: list[Entry]
    older: int | Place | None
    newer: int


def older(user_id: UserId, *, limit: int, before: int | Place | None = None) -> Page:
    """A page from the top, or from the place `before`: the `older` of the page before, or a photo id.

    Warm: three round trips (the list, photos, what stands beside them), and no SQL unless
    `PULL_ABOVE` is used. Where Redis is away SQL answers.
    """
    order = imported("RANKING")
    if order is not None or isinstance(before, Place):
        return _ranked(user_id, limit, before, order)
    snapshot, build = _snapshot(user_id)
    below = visibility.EVERYTHING if before is None else before
    stream = peekable(_collapsed(_Feed(user_id, snapshot, limit).down(below)))
    entries = list(islice(stream, limit))
    more = bool(entries) and (bool(stream) or entries[-1].more + 1 == LONGEST_RUN)
    build()
    newest = entries[0].photo.id if entries else (before or 1) - 1
    return Page(entries, entries[-1].last if more else None, newest)


def _ranked(user_id: UserId, limit: int, before: int | Place | None, order: Any) -> Page:
    snapshot, build = _snapshot(user_id)
    place = before if isinstance(before, Place) else Place() if before is None else Place(before)
    feed = _Feed(user_id, snapshot, max(limit, conf.RANKING_CANDIDATES))
    entries, next_place = ranking.ranked(user_id, feed.down, place, limit=limit, order=order)
    build()
    return Page(entries, next_place, feed.newest if before is None else place.below - 1)


def newer(user_id: UserId, *, limit: int, after: int) -> Page:
    """The photos next above the id `after`, at most `limit`: asked again with the page's `newer` until
    it is empty, it leaves no gap in what was there. A photo that arrives late, with a lower id than one
    that has been seen, is in its place in the pages of `older` only."""
    snapshot, build = _snapshot(user_id)
    entries = list(islice(_Feed(user_id, snapshot, limit).up(after), limit))[::-1]
    build()
    if not entries:
        return Page([], None, after)
    entries = list(_collapsed(iter(entries)))
    return Page(entries, entries[-1].last, entries[0].photo.id)


def entries_of(user_id: UserId, photos: Iterable[AbstractPhoto]) -> list[Entry]:
    """These photos, read already, as `user` gets them; whether they may see them is not asked.
    One query for their likes, authors from the cache."""
    found = list(rows.of_photos(photos))
    likes = Kind("liked", partial(rows.liked, user_id), kept=False)
    people, liked = row_cache.fetch(
        (rows.AUTHORS, {photo.user_id for photo in found}), (likes, [photo.id for photo in found])
    )
    return [
        Entry(photo, people[photo.user_id], liked[photo.id], last=photo.id)
        for photo in found
        if photo.user_id in people
    ]


def _snapshot(user_id: UserId) -> tuple[Snapshot, Callable[[], None]]:
    """What Redis has, and what to do about it when the page is done."""
    try:
        found = read(user_id)
    except FeedError as error:
        logger.warning("the feed of user %s from SQL only: %s", user_id, error)
        return NOTHING_KNOWN, lambda: None
    if found.floor is not None:
        return found, lambda: None
    # After the commit: within a transaction SQL may show what was true when it began.
    return found, partial(_on_commit, partial(_build, user_id))


def _on_commit(step: Callable[[], None]) -> None:
    transaction.on_commit(step, using=database.writer(), robust=True)


def _build(user_id: UserId) -> None:
    try:
        rebuild.build(user_id)
    except FeedError as error:
        logger.warning("the feed of user %s was not built: %s", user_id, error)


class _Feed:
    """One user's feed at one moment, as a stream of entries in either direction."""

    def __init__(self, user_id: UserId, snapshot: Snapshot, limit: int) -> None:
        self._user = user_id
        self._at = snapshot
        self._first = limit + 1 + SPARE
        self.newest = 0
        """The highest id of an entry that it has given."""
        self._sees = Kind(
            f"sees-{user_id}-{snapshot.relations}",
            partial(visibility.seen_up_to, user_id),
            together=True,
            kept=snapshot.relations is not None,
        )
        self._likes = Kind(
            f"liked-{user_id}-{snapshot.likes}",
            partial(rows.liked, user_id),
            together=True,
            kept=snapshot.likes is not None,
        )

    def down(self, below: int) -> Iterator[Entry]:
        """Everything under the id `below`, newest first."""
        floor = self._at.floor
        if floor is not None:
            floor, ids = self._listed(below, floor)
            for some in self._chunks(ids):
                yield from self._known(some)
            if floor == 0:
                return
            below = min(below, floor)
        size = self._first
        while photos := list(visibility.visible_to(self._user).filter(id__lt=below)[:size]):
            yield from self._beside(rows.of_photos(photos))
            if len(photos) < size:
                return
            below, size = photos[-1].pk, AT_MOST

    def up(self, above: int) -> Iterator[Entry]:
        """Everything over the id `above`, oldest first."""
        if self._at.floor is not None and above >= self._at.floor - 1 and not self._at.pulled:
            for some in self._chunks([id_ for id_ in reversed(self._at.ids) if id_ > above]):
                yield from self._known(some)
            return
        size = self._first
        while photos := list(visibility.visible_to(self._user).filter(id__gt=above).order_by("id")[:size]):
            yield from self._beside(rows.of_photos(photos))
            above, size = photos[-1].pk, AT_MOST

    def _listed(self, below: int, floor: int) -> tuple[int, list[int]]:
        """The ids to look at, and the id down to which they are complete."""
        first, last = (bisect_right(self._at.ids, -id_, key=neg) for id_ in (below, floor))
        ids = self._at.ids[first:last]
        if self._at.pulled and floor < below:
            pulled = visibility.carried_to(self._user).filter(pulled=True, id__lt=below, id__gte=floor)
            found = list(pulled.values_list("id", flat=True)[: self._first])
            if len(found) == self._first:
                floor = found[-1]
            ids = sorted({*found, *(id_ for id_ in ids if id_ >= floor)}, reverse=True)
        return floor, ids

    def _chunks(self, ids: list[int]) -> Iterator[list[int]]:
        start, size = 0, self._first
        while start < len(ids):
            yield ids[start : start + size]
            start, size = start + size, min(2 * size, AT_MOST)

    def _known(self, ids: list[int]) -> Iterator[Entry]:
        """Of these ids what the truth has and the user may see, in the same order.

        One round trip for photos whose authors are known from before, two where they have to be asked for.
        """
        likely = {photo.user_id for photo in recent(rows.PHOTOS, ids)}
        photos, *beside = row_cache.fetch((rows.PHOTOS, ids), *self._around(likely, ids))
        listed = [photo for id_ in ids if (photo := photos.get(id_))]
        others = {photo.user_id for photo in listed} - likely
        if others:
            for found, more in zip(beside, row_cache.fetch(*self._around(others, [])), strict=True):
                found.update(more)
        return self._entries(listed, *beside)

    def _beside(self, photos: Iterable[rows.PhotoRow]) -> Iterator[Entry]:
        photos = list(photos)
        asked = self._around({photo.user_id for photo in photos}, [photo.id for photo in photos])
        return self._entries(photos, *row_cache.fetch(*asked))

    def _around(self, authors: set[UserId], photo_ids: list[int]) -> tuple[tuple[Kind, Iterable[Any]], ...]:
        """What is to be fetched for photos of these authors: who they are, how much of them the user sees,
        and which of the photos the user likes."""
        return (rows.AUTHORS, authors), (self._sees, authors - {self._user}), (self._likes, photo_ids)

    def _entries(
        self,
        photos: list[rows.PhotoRow],
        people: dict[Any, rows.AuthorRow],
        seen: dict[Any, int],
        liked: dict[int, bool],
    ) -> Iterator[Entry]:
        photos = [photo for photo in photos if self._is_seen(photo, people, seen)]
        for photo in self._filtered(photos):
            self.newest = max(self.newest, photo.id)
            yield Entry(photo, people[photo.user_id], liked[photo.id], last=photo.id)

    def _is_seen(self, photo: rows.PhotoRow, people: dict[Any, rows.AuthorRow], seen: dict[Any, int]) -> bool:
        if photo.user_id not in people:
            return False
        return photo.user_id == self._user or photo.id <= seen.get(photo.user_id, visibility.NOTHING)

    def _filtered(self, photos: list[rows.PhotoRow]) -> list[rows.PhotoRow]:
        shown_ones = imported("FEED_FILTER")
        if shown_ones is None or not photos:
            return photos
        shown = set(shown_ones(self._user, list(photos)))
        return [photo for photo in photos if photo.id in shown]


def _collapsed(entries: Iterator[Entry]) -> Iterator[Entry]:
    """One entry for a run of more than `COLLAPSE_AUTHOR_AFTER` photos by one author."""
    most = conf.COLLAPSE_AUTHOR_AFTER
    if most is None:
        yield from entries
        return
    stream = peekable(entries)
    while stream:
        author = stream.peek().photo.user_id
        run = [next(stream)]
        count, last = 1, run[0]
        while count < LONGEST_RUN and stream and stream.peek().photo.user_id == author:
            last = next(stream)
            count += 1
            if count <= most:
                run.append(last)
        if count > most:
            yield run[0]._replace(more=count - 1, last=last.last)
        else:
            yield from run
        if count == LONGEST_RUN:
            return


LONGEST_RUN = 1_000  # then the page ends, so that one author cannot make it endless
