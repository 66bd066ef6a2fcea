"""What a page shows of SQL's rows, small enough for the cache."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model

from ..connections import database
from ..models import Like, Photo, UserId
from .kinds import Kind


class PhotoRow(NamedTuple):
    """A photo. `url` is absolute for one kept elsewhere, else relative to the site."""

    id: int
    user_id: UserId
    description: str
    url: str
    created_at: str
    """UTC, as the API shows it."""
    like_count: int
    circle_id: int | None


class AuthorRow(NamedTuple):
    """What everybody may know of a user; `username` and `name` may be empty."""

    id: Any
    username: str
    name: str


def of_photos(photos: Iterable[Photo]) -> Iterator[PhotoRow]:
    """Rows of photos that have been read already."""
    for p in photos:
        created_at = p.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        yield PhotoRow(p.pk, p.user_id, p.description, p.url, created_at, p.like_count, p.circle_id)


def of_author(user: Any) -> AuthorRow:
    """The public part of a user, of whatever model the site has. Never an e-mail address: where people log in
    by one, or give one as their name, that stays empty."""
    name = user.get_full_name() if hasattr(user, "get_full_name") else ""
    return AuthorRow(user.pk, _without_address(str(user.get_username())), _without_address(str(name)))


def _without_address(text: str) -> str:
    return "" if "@" in text.strip("@") else text


def _photos(ids: list[int]) -> Mapping[int, PhotoRow]:
    return {row.id: row for row in of_photos(database.primary(Photo).filter(id__in=ids))}


def _authors(ids: list[Any]) -> Mapping[Any, AuthorRow]:
    users = get_user_model()._default_manager.using(database.writer()).filter(pk__in=ids)
    return {user.pk: of_author(user) for user in users}


def liked(user_id: UserId, photo_ids: list[int]) -> Mapping[int, bool]:
    """Of each of these photos, whether the user likes it. One query."""
    likes = set(
        database.primary(Like).filter(user=user_id, photo__in=photo_ids).values_list("photo_id", flat=True)
    )
    return {photo: photo in likes for photo in photo_ids}


PHOTOS = Kind("photo", _photos, as_row=PhotoRow._make)
AUTHORS = Kind("author", _authors, as_row=AuthorRow._make)
