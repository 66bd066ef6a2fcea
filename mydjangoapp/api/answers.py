"""Photos as the API shows them; by hand, because a page is made of nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rest_framework.request import Request

from ..conf import conf, imported
from ..connections import database
from ..homefeed.reader import Entry
from ..models import AbstractPhoto, get_photo_model
from ..photos import rows
from .links import url_of


def entries_data(entries: Iterable[Entry], request: Request) -> list[dict[str, Any]]:
    """Entries of a page as `EntrySerializer` describes them. One query for the fields of a photo model of the
    site's own; what was deleted at this moment is left out."""
    site = request.build_absolute_uri("/")[:-1]  # once: it costs as much as the rest of an entry
    data = [_entry_data(entry, request, site) for entry in entries]
    serializer = imported("PHOTO_SERIALIZER")
    if serializer is None or not data:
        return data
    # Of the writer: a replica may not have a photo yet that the list has.
    photos = database.primary(get_photo_model()).filter(id__in=[one["id"] for one in data])
    own = {photo.pk: _own_data(serializer, photo, request) for photo in _prefetched(serializer, photos)}
    return [one | own[one["id"]] for one in data if one["id"] in own]


def uploaded_data(photo: AbstractPhoto, request: Request) -> dict[str, Any]:
    """A photo as its uploader gets it, as `UploadedPhotoSerializer` describes it."""
    data = _photo_data(rows.of_photo(photo), request.build_absolute_uri("/")[:-1])
    if photo.circle_id is None:
        del data["circle_id"]
    if serializer := imported("PHOTO_SERIALIZER"):
        data |= _own_data(serializer, photo, request)
    return data | {"fanout": url_of(request, "fanout", photo.pk)}


def _entry_data(entry: Entry, request: Request, site: str) -> dict[str, Any]:
    data = _photo_data(entry.photo, site) | _picture_data(entry.photo, site)
    data["author"] = entry.author.shown()
    data["like_count"] = entry.photo.like_count
    data["liked"] = entry.liked
    if entry.more:
        data["more"] = {"count": entry.more, "url": url_of(request, "user-photos", entry.author.id)}
    return data


def _photo_data(photo: rows.PhotoRow, site: str) -> dict[str, Any]:
    data: dict[str, Any] = {"id": photo.id, "user_id": photo.user_id, "circle_id": photo.circle_id}
    if conf.PHOTO_SERIALIZER is None:
        data["description"] = photo.description
        data["photo_url"] = _absolute(photo.url, site)
    data["created_at"] = photo.created_at
    return data


def _picture_data(photo: rows.PhotoRow, site: str) -> dict[str, Any]:
    return {
        "alt_text": photo.alt_text,
        "width": photo.width,
        "height": photo.height,
        "placeholder": photo.placeholder,
        "sizes": [
            {
                "width": size.width,
                "height": size.height,
                "type": f"image/{size.format}",
                "url": _absolute(size.url, site),
            }
            for size in photo.sizes or ()
        ],
    }


def _absolute(url: str, site: str) -> str:
    return url if "://" in url or not url else site + url


def _prefetched(serializer: Any, photos: Any) -> Any:
    return serializer.prefetch(photos) if hasattr(serializer, "prefetch") else photos


def _own_data(serializer: Any, photo: AbstractPhoto, request: Request) -> dict[str, Any]:
    return dict(serializer(photo, context={"request": request}).data)
