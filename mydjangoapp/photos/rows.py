"""What a page shows of SQL's rows, small enough for the cache."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model

from ..conf import conf, imported
from ..connections import database
from ..models import AbstractPhoto, Like, Picture, UserId, get_photo_model
from .file_urls import url_of
from .kinds import Kind


class SizeRow(NamedTuple):
    """A smaller file of a photo's file; measures in pixels. `format`: `avif` or `webp`."""

    width: int
    height: int
    format: str
    file: str

    @property
    def url(self) -> str:
        """Absolute, or relative to the site."""
        return url_of(self.file)


class PhotoRow(NamedTuple):
    """A photo. `description` and `alt_text` are empty where the site's model has none."""

    id: int
    user_id: UserId
    description: str
    outer_url: str
    """Where it is kept, if that is not our own storage."""
    created_at: str
    """UTC, as the API shows it."""
    like_count: int
    circle_id: int | None
    alt_text: str = ""
    file: str = ""
    """Its name in our own storage; empty also where the site's model says `url` itself."""
    width: int | None = None
    height: int | None = None
    placeholder: str = ""
    """A tiny picture as a `data:` URL; empty, and the measures None, for what is kept elsewhere."""
    sizes: Sequence[SizeRow] | None = ()
    """By format, the better one first, and width. None while they are being made; empty if none are."""

    @property
    def url(self) -> str:
        """Where the picture is, absolute or relative to the site; empty if there is none."""
        return url_of(self.file) if self.file else self.outer_url

    @classmethod
    def of_tuple(cls, values: Iterable[Any]) -> PhotoRow:
        """The row that was kept as a tuple."""
        row = cls._make(values)
        return row._replace(sizes=tuple(map(SizeRow._make, row.sizes))) if row.sizes else row

    def as_tuple(self) -> tuple[Any, ...]:
        """The same in tuples alone: a pickle that names no class outlives a new version."""
        sizes: Any = None if self.sizes is None else tuple(tuple(size) for size in self.sizes)
        return (*self[:-1], sizes)


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
    """Rows of photos that have been read already. One query if any of them has a file."""
    photos = list(photos)
    of_files = [photo.pk for photo in photos if photo.file_name]
    pictures = {one.photo_id: one for one in database.primary(Picture).filter(photo_id__in=of_files)}
    for photo in photos:
        yield of_photo(photo, pictures.get(photo.pk))


def of_photo(photo: AbstractPhoto, picture: Picture | None = None) -> PhotoRow:
    """The row of one photo, with what is known of its file."""
    says_url_itself = type(photo).url is not AbstractPhoto.url
    file = "" if says_url_itself else photo.file_name
    row = PhotoRow(
        photo.pk,
        photo.author_key,
        getattr(photo, "description", ""),
        photo.url if says_url_itself else "" if file else photo.outer_url,
        photo.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        photo.like_count,
        photo.circle_id,
        getattr(photo, "alt_text", ""),
        file,
    )
    if picture is None or picture.file != photo.file_name:
        return row
    return row._replace(
        width=picture.width,
        height=picture.height,
        placeholder=picture.placeholder,
        sizes=None if picture.sizes is None else tuple(map(SizeRow._make, picture.sizes)),
    )


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


PHOTOS = Kind("photo", _photos, as_row=PhotoRow.of_tuple, as_tuple=PhotoRow.as_tuple)
AUTHORS = Kind("author", _authors, as_row=AuthorRow._make)
