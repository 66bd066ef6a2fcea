"""Publishing a photo: one transaction, then one message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.files.base import File
from django.db import IntegrityError

from .circles import members
from .connections import database
from .models import AbstractPhoto, UploadKey, get_photo_model
from .photos.new_files import removed_on_failure


def publish(
    user: Any,
    *,
    circle: Any = None,
    idempotency_key: str | None = None,
    caller: Any = None,
    **fields: Any,
) -> Any:
    """Saves a photo and its fan-out in one transaction; returns without waiting for the delivery.

    `fields` are the photo model's: of `mydjangoapp.Photo` a `description`, and either `photo_url` or `image`
    (checked already: see `images.clean`). `circle`: a circle (or its id) of which `user` is a member. The
    same `idempotency_key` by the same `caller` (default: `user`) gives the same photo, however often and
    however many at once. Raises `BadUpload`, `NotAMember`; nothing is saved then.
    """
    model = get_photo_model()
    given = {name: value for name, value in fields.items() if value is not None}
    model.check_upload(given)

    def save(**author_and_circle: Any) -> AbstractPhoto:
        photo: AbstractPhoto = _with_named_files(model(**author_and_circle, **given))
        photo.save()
        return photo

    return publish_with(save, user, circle=circle, idempotency_key=idempotency_key, caller=caller)


def publish_with(
    save: Callable[..., Any],
    user: Any,
    *,
    circle: Any = None,
    idempotency_key: str | None = None,
    caller: Any = None,
) -> Any:
    """Like `publish`, but calls `save` to create the photo and its related rows: the `save` of a
    serializer, say.

    It is called in the transaction, with the author and the `circle_id` as keywords, and returns the photo.
    Files that it stores by saving rows are removed if the transaction fails.
    """
    caller = caller or user
    if idempotency_key is not None and (known := _published_with(caller, idempotency_key)):
        return known
    circle_id = None if circle is None else members.check_may_post(user, circle)
    author = {get_photo_model().AUTHOR_FIELD: user}
    try:
        with removed_on_failure() as is_written, database.atomic():
            if circle_id is not None:
                members.keep(circle_id)
            photo: Any = save(**author, **({} if circle_id is None else {"circle_id": circle_id}))
            if idempotency_key is not None:
                UploadKey.objects.create(user=caller, key=idempotency_key, photo=photo)
            is_written()
    except IntegrityError:
        if circle_id is not None:
            members.check_may_post(user, circle_id)  # it was deleted in this moment
        # Another call with the same key was faster: its photo is the one.
        if idempotency_key is not None and (published := _published_with(caller, idempotency_key)):
            return published
        raise
    return photo


def _published_with(caller: Any, key: str) -> Any:
    keys = UploadKey.objects.filter(user=caller, key=key)
    photos = get_photo_model()._base_manager.using(database.writer())
    return photos.filter(id__in=keys.values("photo")).first()


def _with_named_files(photo: AbstractPhoto) -> AbstractPhoto:
    """A file without a name would be taken for none."""
    for name, value in photo.__dict__.items():
        if isinstance(value, File) and not value.name:
            photo.__dict__[name].name = "image"
    return photo
