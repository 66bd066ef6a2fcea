"""The smaller files of photos' files: asked for with each photo, made in the background, gone with it.

What is asked for is a row of the photo's own transaction, and made by a message. A message that was lost is
sent again (`send_due`), so nothing depends on the broker. Any number of workers may have the same message:
one of them gets the row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache, partial
from typing import Any

from django.core.files.storage import Storage
from django.db.models import F
from django.utils import timezone

from . import outbox
from .conf import conf
from .connections import database
from .exceptions import BadUpload
from .models import AbstractPhoto, Picture, get_photo_model
from .models.picture import PictureQuerySet

logger = logging.getLogger(__name__)

Enqueue = Callable[[int, int], object]
"""Sends the message for a photo at this attempt."""

AT_ONCE = 100  # messages that one round sends again; each takes a worker some tenths of a second
_MEASURED = "_feeds_measured"
IN_HAND_SECONDS = 120.0  # longer than a worker takes for the largest file


def measure(photo: AbstractPhoto) -> None:
    """Remembers what is known of a file that is about to be stored with the photo: of an upload everything,
    since it has been decoded."""
    content: Any = getattr(getattr(photo, photo.FILE_FIELD), "_file", None) if photo.FILE_FIELD else None
    if content is not None and hasattr(content, "placeholder"):
        known = {name: getattr(content, name) for name in ("width", "height", "placeholder")}
        photo.__dict__[_MEASURED] = known


def note(photo: AbstractPhoto, enqueue: Enqueue) -> None:
    """Asks, in the open transaction, for what pages show of this photo's file. Nothing to do if they have it,
    if there is no file, and where the site makes no sizes."""
    file = photo.file_name
    measured = photo.__dict__.pop(_MEASURED, {})
    if not _are_made() or not photo.FILE_FIELD:
        return
    known = None if photo._state.adding else _picture(photo.pk)
    if file == (known.file if known else ""):
        return
    if known:
        known.delete()
    if file:
        _rows().create(
            photo_id=photo.pk,
            file=file,
            due_at=timezone.now() + timedelta(seconds=conf.LEASE_SECONDS),
            **measured,
        )
        database.on_commit(partial(enqueue, photo.pk, 0))


def make(photo_id: int, attempt: int) -> bool:
    """Makes what was asked for, unless somebody else has begun with this attempt; returns whether it did.

    Errors of the storage are logged; there is another attempt then, at most `MAX_ATTEMPTS`.
    """
    picture = _picture(photo_id)
    if picture is None or picture.due_at is None or picture.attempts != attempt or not _begin(picture):
        return False
    from .photos import sizes  # here, because a site that takes no images need not have Pillow

    storage = _storage()
    try:
        with storage.open(picture.file) as content:
            made = sizes.make(content, picture.file)
        stored = [sizes.store(storage, size, body) for size, body in made.files]
    except BadUpload as error:
        logger.warning("photo %s stays without smaller files: %s", photo_id, error)
        return _end(picture, sizes=[])
    except Exception as error:  # each storage raises its own
        logger.error("photo %s has no smaller files yet (attempt %d): %s", photo_id, picture.attempts, error)
        return False
    figures = {"width": made.width, "height": made.height, "placeholder": made.placeholder}
    if _end(picture, sizes=[list(size) for size in stored], **figures):
        return True
    for size in stored:  # the photo, or its file, is another by now
        storage.delete(size.name)
    return False


def send_due(enqueue: Enqueue) -> int:
    """Sends the messages again that seem to be lost, each after a longer pause; returns how many. After
    `MAX_ATTEMPTS` a picture stays as it is."""
    now = timezone.now()
    sent = 0
    for picture in _rows().due(now).order_by("due_at")[:AT_ONCE]:
        seen = _rows().as_seen(picture).due(now)
        if picture.attempts >= conf.MAX_ATTEMPTS:
            logger.error("photo %s stays without smaller files: given up", picture.photo_id)
            _end(picture, sizes=[])
            continue
        pause = max(timedelta(seconds=conf.LEASE_SECONDS), now - picture.created_at)
        if seen.update(due_at=now + pause):
            enqueue(picture.photo_id, picture.attempts)
            sent += 1
    return sent


def files_of(picture: Picture) -> list[str]:
    """Names in the storage of what was made for a photo, or may be in the making."""
    if picture.sizes is not None:
        return [name for *_, name in picture.sizes]
    if not picture.attempts or not picture.width or not picture.height or not _are_made():
        return []
    from .photos import sizes

    return [size.name for size in sizes.planned(picture.file, picture.width, picture.height)]


def again(photos: Sequence[AbstractPhoto]) -> int:
    """Has the smaller files of these photos made anew, or for the first time; returns how many have a file.
    Pages show what there is until then."""
    asked = {photo.pk: photo.file_name for photo in photos if photo.file_name} if _are_made() else {}
    with database.atomic():
        for picture in _rows().filter(photo_id__in=asked):
            picture.delete()
        now = timezone.now()
        rows = [Picture(photo_id=photo, file=file, due_at=now) for photo, file in asked.items()]
        _rows().bulk_create(rows, ignore_conflicts=True)
        outbox.photos_changed(*asked)
    return len(asked)


def _are_made() -> bool:
    return bool(conf.PICTURE_WIDTHS) and _there_is_pillow()


@cache
def _there_is_pillow() -> bool:
    try:
        import PIL  # noqa: F401  # the extra `images`
    except ImportError:
        return False
    return True


def _rows() -> PictureQuerySet:
    rows: PictureQuerySet = Picture.objects.using(database.writer())
    return rows


def _picture(photo_id: int) -> Picture | None:
    return _rows().filter(photo_id=photo_id).first()


def _storage() -> Storage:
    model = get_photo_model()
    storage: Storage = model._meta.get_field(model.FILE_FIELD).storage
    return storage


def _begin(picture: Picture) -> bool:
    until = timezone.now() + timedelta(seconds=IN_HAND_SECONDS)
    begun = _rows().as_seen(picture).update(attempts=F("attempts") + 1, due_at=until)
    picture.attempts += 1
    return bool(begun)


def _end(picture: Picture, **figures: Any) -> bool:
    with database.atomic():
        ended = _rows().as_seen(picture).update(due_at=None, **figures)
        if ended:
            outbox.photos_changed(picture.photo_id)
    return bool(ended)
