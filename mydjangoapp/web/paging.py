"""Pages of rows by id, newest first; rows that come or go meanwhile do not shift them."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import QuerySet
from django.http import HttpRequest

from ..photos.visibility import EVERYTHING


class RowPage(NamedTuple):
    """`before`: the `?before=` of the page after this one; empty at the end."""

    rows: list[Any]
    before: str


def page_of(rows: QuerySet[Any], request: HttpRequest, limit: int) -> RowPage:
    """The rows that `?before=` asks for: those with lower ids. The first ones where it names no id."""
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and int(before) <= EVERYTHING:
        rows = rows.filter(pk__lt=int(before))
    found = list(rows.order_by("-pk")[: limit + 1])
    return RowPage(found[:limit], str(found[limit - 1].pk) if len(found) > limit else "")
