"""Users as callers give them: objects, ids, or ids as text."""

from __future__ import annotations

from typing import Any

from ..models import UserId
from ..models.user_id import id_of

__all__ = ["id_of", "two_ids"]


def two_ids(user: Any, other: Any, problem: str) -> tuple[UserId, UserId]:
    """The ids of two different users. Raises `ValueError` with that problem if they are the same user."""
    user_id, other_id = id_of(user), id_of(other)
    if user_id == other_id:
        raise ValueError(problem)
    return user_id, other_id
