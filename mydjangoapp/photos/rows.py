"""What a page shows of SQL's rows, small enough for the cache."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model

from ..conf import conf, imported
from ..connections import database
from ..models import AbstractPhoto, Like, UserId, get_photo_model
from .kinds import Kind


class PhotoRow(NamedTuple):
    """A photo. `url` is absolute for one kept elsewhere, else relative to the site. `description` and `url`
    are empty where the site's model has none."""

    id: int
    user_id: UserId
    description: str
    url: str
    created_at: str
    """UTC, as the API shows it."""
    like_count: int
    circle_id: int | None


class AuthorRow(NamedTuple):
    """What everybody may know of a user; `username` and `name` may be empty. `fields`: what the site's
    `AUTHOR_SERIALIZER` shows instead of them."""

    id: Any
    username: str
    name: str
    fields: Mapping[str, Any] | None = None

    def shown(self) -> dict[str, Any]:
        """As JSON has it."""
        if self.fields is None:
            return {"id": self.id, "username": self.username, "name": self.name}
        return {"id": self.id, **self.fields}


def of_photos(photos: Iterable[AbstractPhoto]) -> Iterator[PhotoRow]:
    """Rows of photos that have been read already."""
    for p in photos:
        created_at = p.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        text = getattr(p, "description", "")
        yield PhotoRow(p.pk, p.author_key, text, p.url, created_at, p.like_count, p.circle_id)


def of_author(user: Any) -> AuthorRow:
    """The public part of a user, of whatever model the site has.

    Never what people log in by, unless they call it their username, and never an e-mail address that the site
    has not named itself: that stays empty.
    """
    name = _without_address(str(user.get_full_name())) if hasattr(user, "get_full_name") else ""
    serializer = imported("AUTHOR_SERIALIZER")
    if serializer is None:
        return AuthorRow(user.pk, _public_name(user), name)
    fields = dict(serializer(user).data if hasattr(serializer, "data") else serializer(user))
    return AuthorRow(user.pk, str(fields.get("username", "")), str(fields.get("name", "")), fields)


def _public_name(user: Any) -> str:
    if conf.PUBLIC_NAME is not None:
        return str(getattr(user, conf.PUBLIC_NAME) or "")
    return _without_address(str(user.get_username())) if user.USERNAME_FIELD == "username" else ""


def _without_address(text: str) -> str:
    return "" if "@" in text.strip("@") else text


def _photos(ids: list[int]) -> Mapping[int, PhotoRow]:
    return {row.id: row for row in of_photos(database.primary(get_photo_model()).filter(id__in=ids))}


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
