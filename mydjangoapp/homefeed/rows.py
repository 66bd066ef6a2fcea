"""What a page shows of SQL's rows, small enough for the cache."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model

from ..models import Like, Photo
from .cached import Kind


class PhotoRow(NamedTuple):
    """A photo. `url` is absolute for one kept elsewhere, else relative to the site."""

    id: int
    user_id: Any
    description: str
    url: str
    created_at: datetime
    like_count: int
    circle_id: int | None = None  # with a default for what an older version has left in the cache


class AuthorRow(NamedTuple):
    """What everybody may know of a user."""

    id: Any
    username: str
    name: str


def of_photos(photos: Iterable[Photo]) -> Iterator[PhotoRow]:
    """Rows of photos that have been read already."""
    for p in photos:
        yield PhotoRow(p.pk, p.user_id, p.description, p.url, p.created_at, p.like_count, p.circle_id)


def of_author(user: Any) -> AuthorRow:
    """The public part of a user, of whatever model the site has."""
    name = user.get_full_name() if hasattr(user, "get_full_name") else ""
    return AuthorRow(user.pk, str(user.get_username()), str(name))


def _photos(ids: list[int]) -> Mapping[int, PhotoRow]:
    return {row.id: row for row in of_photos(Photo.objects.filter(id__in=ids))}


def _authors(ids: list[Any]) -> Mapping[Any, AuthorRow]:
    return {user.pk: of_author(user) for user in get_user_model()._default_manager.filter(pk__in=ids)}


def liked(user: Any, photos: list[int]) -> Mapping[int, bool]:
    """Of each of these photos, whether the user likes it. One query."""
    likes = set(Like.objects.filter(user=user, photo__in=photos).values_list("photo_id", flat=True))
    return {photo: photo in likes for photo in photos}


PHOTOS = Kind("photo", _photos, stamped=True)
AUTHORS = Kind("author", _authors, stamped=True)
