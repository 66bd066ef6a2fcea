"""What happens when a photo, a user or a circle is saved or deleted, whoever does it."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.conf import settings
from django.db.models import F, Model
from django.db.models.functions import Greatest
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

from . import domain_events, failpoints, outbox, pictures, tasks
from .connections import database
from .fanout import ledger
from .graph.departure import user_leaves
from .models import AbstractPhoto, Circle, CircleMembership, PendingChange, Picture, get_photo_model
from .photos import new_files


def connect() -> None:
    """Connects all of them; may be called again."""
    receivers: list[tuple[Any, Any, Any]] = [
        (pre_save, row_is_saved, None),
        (pre_save, photo_is_saved, get_photo_model()),
        (post_save, photo_was_saved, get_photo_model()),
        (post_delete, photo_was_deleted, get_photo_model()),
        (post_delete, picture_was_deleted, Picture),
        (pre_save, user_is_saved, settings.AUTH_USER_MODEL),
        (post_save, user_was_saved, settings.AUTH_USER_MODEL),
        (pre_delete, user_is_deleted, settings.AUTH_USER_MODEL),
        (post_save, membership_was_saved, CircleMembership),
        (post_delete, membership_was_deleted, CircleMembership),
        (post_delete, circle_was_deleted, Circle),
    ]
    for signal, receiver, sender in receivers:
        signal.connect(receiver, sender=sender, dispatch_uid=f"mydjangoapp.{receiver.__name__}")


def row_is_saved(sender: Any, instance: Model, **_: Any) -> None:
    """Notes files that a row is about to store, where an upload is under way."""
    new_files.note(instance)


def photo_is_saved(sender: type[AbstractPhoto], instance: AbstractPhoto, **_: Any) -> None:
    """Looks at its file before it is stored: afterwards nobody has its content at hand."""
    pictures.measure(instance)


def photo_was_saved(
    sender: type[AbstractPhoto], instance: AbstractPhoto, created: bool, raw: bool, **_: Any
) -> None:
    """Opens the fan-out of a new photo. A changed photo is shown as it is now.

    Fixtures (`raw`) bring rows of their own.
    """
    if not raw:
        pictures.note(instance, tasks.enqueue_sizes)
    if not created:
        outbox.photos_changed(instance.pk)
    elif not raw:
        ledger.open_for(instance)
        # Before the events: a delivery must not wait for servers that carry something else.
        database.on_commit(partial(_enqueue, instance.pk, instance.author_key))
        domain_events.photo_published(instance)


def _enqueue(photo_id: int, author_id: Any) -> None:
    failpoints.reach("committed", photo_id)
    tasks.enqueue(photo_id, author_id)


def photo_was_deleted(sender: Any, instance: AbstractPhoto, **_: Any) -> None:
    """Once the deletion is committed: hides the photo at once, cancels its fan-out, takes it out of the lists
    in the background and removes its file."""
    ledger.rows().of(instance.pk).cancel()
    outbox.photo_deleted(instance.pk, instance.author_key, instance.file_name)
    domain_events.photo_deleted(instance)
    database.on_commit(partial(failpoints.reach, "deleted", instance.pk))


def picture_was_deleted(sender: type[Picture], instance: Picture, **_: Any) -> None:
    """Has the smaller files removed, once that is committed."""
    outbox.files_left(pictures.files_of(instance))


def user_is_saved(sender: Any, instance: Any, raw: bool, update_fields: Any = None, **_: Any) -> None:
    """Writes down that a user may get a new name. Before they are saved, because Django saves a user without
    a transaction where the site has opened none: one row too many does no harm, one too few would."""
    is_log_in = update_fields is not None and set(update_fields) <= {"last_login"}
    if not instance._state.adding and not raw and not is_log_in:
        change = PendingChange(verb=PendingChange.Verb.AUTHOR, user_id=instance.pk)
        instance._feeds_changes = outbox.write([change])


def user_was_saved(sender: Any, instance: Any, **_: Any) -> None:
    """Shows a new name at once."""
    if changes := instance.__dict__.pop("_feeds_changes", None):
        database.on_commit(partial(outbox.bring_in, changes))


def user_is_deleted(sender: Any, instance: Any, **_: Any) -> None:
    """Takes the user out of the lists of the authors they followed, and drops their own keys."""
    user_leaves(instance.pk)


def membership_was_saved(
    sender: type[CircleMembership], instance: CircleMembership, created: bool, **_: Any
) -> None:
    """Counts a new member."""
    if created:
        database.primary(Circle).filter(pk=instance.circle_id).update(member_count=F("member_count") + 1)


def membership_was_deleted(
    sender: type[CircleMembership], instance: CircleMembership, origin: Any = None, **_: Any
) -> None:
    """Counts one member less; not when the circle itself is deleted with all its members."""
    if getattr(origin, "model", type(origin)) is not Circle:
        fewer = Greatest(F("member_count") - 1, 0)
        database.primary(Circle).filter(pk=instance.circle_id).update(member_count=fewer)


def circle_was_deleted(sender: type[Circle], instance: Circle, **_: Any) -> None:
    """Its photos are in no circle any more; drops what Redis holds of it."""
    database.primary(get_photo_model()).filter(circle_id=instance.pk).update(circle_id=None)
    outbox.circle_deleted(instance.pk)
