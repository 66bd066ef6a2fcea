"""Publishing a photo: one transaction, then one message."""

from __future__ import annotations

import logging
from typing import Any

from django.core.files.base import File
from django.db import IntegrityError

from . import domain_events, failpoints, outbox, tasks
from .circles import members
from .connections import database
from .exceptions import BadUpload
from .fanout import chain
from .models import Photo, UploadKey

logger = logging.getLogger(__name__)


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


def photo_was_saved(sender: type[Photo], instance: Photo, created: bool, raw: bool, **_: Any) -> None:
    """Opens the fan-out of a new photo, whoever made it: the API, the admin, a shell, an import.

    Fixtures (`raw`) bring their own rows. One that was changed is shown so at once.
    """
    if not created:
        outbox.photos_changed(instance.pk)
    elif not raw:
        chain.open_for(instance)
        # Before the events: a delivery must not wait for servers that carry something else.
        database.on_commit(lambda: _enqueue(instance.pk, instance.user_id))
        domain_events.photo_published(instance)


def _enqueue(photo: int, author: Any) -> None:
    failpoints.reach("committed", photo)
    tasks.enqueue(photo, author)


def photo_was_deleted(sender: type[Photo], instance: Photo, **_: Any) -> None:
    """For a photo that is gone, once that is certain: hides it at once, cancels its fan-out, takes it
    out of the lists in the background and removes its file."""
    chain.close_deleted(instance.pk)
    outbox.photo_deleted(instance.pk, instance.user_id, str(instance.image or ""))
    domain_events.photo_deleted(instance)
    database.on_commit(lambda: failpoints.reach("deleted", instance.pk))
