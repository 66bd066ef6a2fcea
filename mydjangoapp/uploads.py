"""Publishing a photo: one transaction, then one message."""

from __future__ import annotations

from typing import Any

from django.core.files.base import File
from django.db import IntegrityError

from .circles import members
from .connections import database
from .exceptions import BadUpload
from .models import Photo, UploadKey


def publish(
    user: Any,
    *,
    description: str,
    photo_url: str = "",
    image: File[bytes] | None = None,
    circle: Any = None,
    idempotency_key: str | None = None,
    caller: Any = None,
) -> Photo:
    """Saves the photo and its fan-out in one transaction; returns without waiting for the delivery.

    Give either `photo_url` or `image` (checked already: see `images.clean`). `circle`: a circle (or its
    id) of which `user` is a member. The same `idempotency_key` by the same `caller` (default: `user`)
    gives the same photo, however often and however many at once. Raises `BadUpload`, `NotAMember`;
    nothing is saved then.
    """
    if bool(photo_url) == (image is not None):
        raise BadUpload("photo_url", "Give either photo_url or image, and not both.")
    caller = caller or user
    if idempotency_key is not None and (photo := _published_with(caller, idempotency_key)):
        return photo
    circle_id = None if circle is None else members.check_may_post(user, circle)
    photo = Photo(user=user, description=description, photo_url=photo_url, circle_id=circle_id)
    saved = False
    try:
        with database.atomic():
            if image is not None:
                photo.image.save(image.name or "image", image, save=False)
            photo.save()
            if idempotency_key is not None:
                UploadKey.objects.create(user=caller, key=idempotency_key, photo=photo)
            saved = True
    except BaseException as error:
        # Not after the last statement: from there on the photo may have been committed.
        if photo.image and not saved:
            photo.image.delete(save=False)
        if isinstance(error, IntegrityError) and circle_id is not None:
            members.check_may_post(user, circle_id)  # it was deleted in this moment
        # Another call with the same key was faster: its photo is the one.
        if (
            isinstance(error, IntegrityError)
            and idempotency_key is not None
            and (published := _published_with(caller, idempotency_key))
        ):
            return published
        raise
    return photo


def _published_with(caller: Any, key: str) -> Photo | None:
    keys = UploadKey.objects.filter(user=caller, key=key)
    return database.primary(Photo).filter(id__in=keys.values("photo")).first()
