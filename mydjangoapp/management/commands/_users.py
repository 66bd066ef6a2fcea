"""Going through the site's users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db.models import QuerySet

from mydjangoapp.connections.paging import in_pages

AT_ONCE = 1_000


def users_to_go_through(only: str | None, sample: int | None = None) -> tuple[Iterable[Any], int]:
    """Ids of one user, of so many at random, or of all; and how many. Raises `CommandError`."""
    users = get_user_model()._default_manager.all()
    if only is not None:
        try:
            found = list(users.filter(pk=only).values_list("pk", flat=True))
        except (ValueError, TypeError, ValidationError):
            found = []
        if not found:
            raise CommandError(f"--user: there is no user with the id {only}.")
        return found, 1
    if sample is not None:
        if sample < 1:
            raise CommandError("--sample: give a number above 0.")
        drawn = list(users.order_by("?").values_list("pk", flat=True)[:sample])
        return drawn, len(drawn)
    return _all(users), users.count()


def _all(users: QuerySet[Any]) -> Iterator[Any]:
    # A page at a time: an open cursor would hold SQLite's view of everything as it was at the start.
    for page in in_pages(users.values_list("pk"), size=AT_ONCE):
        yield from (pk for (pk,) in page)
