"""Who likes what: the like and the photo's count in one transaction."""

from __future__ import annotations

from typing import Any

from django.db.models import F
from django.db.models.functions import Greatest

from . import domain_events, outbox
from .connections import database
from .models import Like, UserId, get_photo_model


def like(user: Any, photo_id: int) -> bool:
    """Makes `user` like the photo; False if they did already. Raises the photo model's `DoesNotExist`."""
    user = getattr(user, "pk", user)
    with database.atomic():
        # The lock puts likes of one photo in a row and keeps a deletion out.
        liked = database.primary(get_photo_model()).select_for_update().get(id=photo_id)
        row, made = Like.objects.get_or_create(user_id=user, photo_id=photo_id)
        if made:
            _count(user, photo_id, 1)
            domain_events.photo_liked(liked, row)
    return made


def unlike(user: Any, photo_id: int) -> bool:
    """Ends it; False if `user` did not like the photo. Raises the photo model's `DoesNotExist`."""
    user = getattr(user, "pk", user)
    with database.atomic():
        liked = database.primary(get_photo_model()).select_for_update().get(id=photo_id)
        row = database.primary(Like).filter(user=user, photo=photo_id).first()
        if row is not None:
            row.photo = liked
            domain_events.photos_unliked([row])
            row.delete()
            _count(user, photo_id, -1)
    return row is not None


def _count(user_id: UserId, photo_id: int, by: int) -> None:
    database.primary(get_photo_model()).filter(id=photo_id).update(
        like_count=Greatest(F("like_count") + by, 0)
    )
    outbox.like_changed(user_id, photo_id)
