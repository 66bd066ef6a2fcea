"""What a site may hang on its feeds. Workers import it, too, so it imports nothing of the tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mydjangoapp.homefeed.reader import Entry
from mydjangoapp.photos.rows import PhotoRow


def without_every_fourth(user_id: Any, photos: list[PhotoRow]) -> Iterable[int]:
    """A filter of the site's own."""
    return [photo.id for photo in photos if photo.id % 4]


def by_last_digit(photo_id: int) -> tuple[int, int]:
    """An order that has nothing to do with age."""
    return photo_id % 10, photo_id


def ranked_by_last_digit(user_id: Any, entries: list[Entry]) -> Iterable[Entry]:
    """The same for a page."""
    return sorted(entries, key=lambda entry: by_last_digit(entry.photo.id))
