"""Muting and unmuting."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext

from ..connections import database
from ..models import Mute
from .commits import tell_readers_on_commit
from .ids import id_of, two_ids


def mute(muter: Any, muted: Any) -> bool:
    """Takes the photos of `muted` out of `muter`'s feed; returns False if that was so already.

    The follow stays. Raises `ValueError` if both are the same user, and `IntegrityError` for a user that
    does not exist.
    """
    muter_id, muted_id = two_ids(muter, muted, gettext("You cannot mute yourself."))
    with database.atomic():
        _, made = Mute.objects.get_or_create(muter_id=muter_id, muted_id=muted_id)
        tell_readers_on_commit(muter_id)
    return made


def unmute(muter: Any, muted: Any) -> bool:
    """Brings the photos back to their places; returns False if `muted` was not muted."""
    muter_id, muted_id = id_of(muter), id_of(muted)
    with database.atomic():
        deleted, _ = database.primary(Mute).filter(muter=muter_id, muted=muted_id).delete()
        tell_readers_on_commit(muter_id)
    return bool(deleted)
