"""Users as callers give them: objects, ids, or ids as text."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from ..models import UserId


def id_of(user: Any) -> UserId:
    """The id of a user, of the type that the site's users have: `"7"` and `7` are the same user.

    Raises `ValueError` for something that cannot be an id.
    """
    if hasattr(user, "pk"):
        return user.pk
    try:
        return get_user_model()._meta.pk.to_python(user)
    except ValidationError as error:
        raise ValueError(f"{user!r} is not the id of a user.") from error


def two_ids(user: Any, other: Any, verb: str) -> tuple[UserId, UserId]:
    """The ids of two different users. Raises `ValueError` if they are the same user."""
    user_id, other_id = id_of(user), id_of(other)
    if user_id == other_id:
        raise ValueError(f"You cannot {verb} yourself.")
    return user_id, other_id
