"""Reading a home feed from Python: in a view or a template of the site's own.

The photos are rows of the site's photo model, so everything that the site knows of them is at hand::

    page = feeds.page(request.user, limit=20, before=request.GET.get("before"))
    for entry in page:
        entry.photo, entry.author.name, entry.liked
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from . import outbox
from .connections import database
from .homefeed import reader
from .homefeed.ranking import Place
from .models import get_photo_model
from .models.user_id import id_of
from .photos.rows import AuthorRow
from .photos.visibility import EVERYTHING

__all__ = ["Entry", "Page", "author_changed", "page"]

MOST = 200
"""Entries a page may have."""


class Entry(NamedTuple):
    """One photo of a feed. `photo`: its row; `author`: what others see of its author; `liked`: by the reader;
    `more`: how many by the same author are left out after it (`COLLAPSE_AUTHOR_AFTER`)."""

    photo: Any
    author: AuthorRow
    liked: bool
    more: int


@dataclass(frozen=True)
class Page:
    """Entries in the order in which they are shown. `before`: pass it on for the page after this one; empty
    at the end of the feed."""

    entries: list[Entry]
    before: str

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def page(user: Any, limit: int = 20, before: str | int | None = None) -> Page:
    """A page of a user's home feed: what `GET /feed/` shows, from the same source.

    `user`: a user or their id. `before`: the `before` of the page before (also as it comes back in a URL),
    or a photo id; empty or None for the top. Raises `ValueError` where it is neither. Costs one query more
    than the API, for the rows of the photos.
    """
    if not 1 <= limit <= MOST:
        raise ValueError(f"limit must be from 1 to {MOST}, not {limit}.")
    found = reader.older(id_of(user), limit=limit, before=place(before))
    photos = database.primary(get_photo_model()).in_bulk([entry.photo.id for entry in found.entries])
    entries = [
        Entry(photos[entry.photo.id], entry.author, entry.liked, entry.more)
        for entry in found.entries
        if entry.photo.id in photos  # not one that was deleted in this moment
    ]
    return Page(entries, as_text(found.older))


def author_changed(user: Any) -> None:
    """Shows anew what `AUTHOR_SERIALIZER` makes of a user, when the transaction commits. Needed where that
    comes from other rows than the user's own."""
    outbox.author_changed(id_of(user))


def place(before: str | int | None) -> Place | int | None:
    """The place that `before` names, see `page`. Raises `ValueError`."""
    if before is None or before == "":
        return None
    try:
        below, *gaps = (int(number) for number in str(before).split("."))
        if not (0 <= below <= EVERYTHING and all(0 <= gap <= below for gap in gaps)):
            raise ValueError
    except ValueError as error:
        raise ValueError(f"{before!r} is not a place in a feed: take it from the page before.") from error
    return Place(below, tuple(below - gap for gap in gaps)) if gaps else below


def as_text(at: Place | int | None) -> str:
    """What `place` makes this place of; empty for the end of a feed."""
    if at is None:
        return ""
    if isinstance(at, int):
        return str(at)
    return ".".join(str(number) for number in (at.below, *(at.below - shown for shown in at.shown)))
