"""The type of a user's primary key."""

from __future__ import annotations

from typing import Any, TypeAlias

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

UserId: TypeAlias = Any
"""The primary key of a user: an integer, a text, a UUID; whatever the site's user model has.

An alias that says what is meant. No narrower type fits: type checkers know the user model of one site, and
take every other site's keys for errors.
"""


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
