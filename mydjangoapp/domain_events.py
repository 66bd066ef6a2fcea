"""What the app itself publishes, each in the transaction that does it.

Topic `photos`: `id` is the photo's; topic `graph`: who follows whom. Searching, notifying and ranking
hang on these.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .events import publish, publish_many
from .models import AbstractPhoto, FanOut, Like

PHOTOS = "photos"
GRAPH = "graph"


def photo_published(photo: AbstractPhoto) -> None:
    """`photo.published`."""
    body = _photo(photo) | photo.event_fields() | {"created_at": photo.created_at}
    publish(PHOTOS, "photo.published", body)


def photo_deleted(photo: AbstractPhoto) -> None:
    """`photo.deleted`."""
    publish(PHOTOS, "photo.deleted", _photo(photo) | {"created_at": photo.created_at})


def photo_liked(photo: AbstractPhoto, like: Like) -> None:
    """`photo.liked`: `liked_by` is the user, `like_id` grows with each like."""
    publish(PHOTOS, "photo.liked", _like(photo, like))


def photos_unliked(likes: Iterable[Like]) -> None:
    """`photo.unliked` of each, with the fields of the like that has ended."""
    publish_many(PHOTOS, "photo.unliked", [_like(like.photo, like) for like in likes])


def fanouts_finished(rows: Iterable[FanOut], authors: dict[int, Any]) -> None:
    """`fanout.finished` of each."""
    bodies = [
        {
            "id": row.photo_id,
            "user_id": authors.get(row.photo_id),
            "reached": row.reached,
            "total": row.total,
            "finished_at": row.finished_at,
        }
        for row in rows
    ]
    publish_many(PHOTOS, "fanout.finished", bodies)


def users_followed(pairs: Iterable[tuple[Any, Any]]) -> None:
    """`user.followed` of each follower and followee."""
    publish_many(GRAPH, "user.followed", [{"follower_id": one, "followee_id": other} for one, other in pairs])


def users_unfollowed(pairs: Iterable[tuple[Any, Any]]) -> None:
    """`user.unfollowed` of each follower and followee."""
    publish_many(
        GRAPH, "user.unfollowed", [{"follower_id": one, "followee_id": other} for one, other in pairs]
    )


def _photo(photo: AbstractPhoto) -> dict[str, Any]:
    return {"id": photo.pk, "user_id": photo.author_key, "circle_id": photo.circle_id}


def _like(photo: AbstractPhoto, like: Like) -> dict[str, Any]:
    return _photo(photo) | {"liked_by": like.user_id, "like_id": like.pk, "liked_at": like.created_at}
