"""Going through many rows, a page per query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

Row = TypeVar("Row")


def in_pages(rows: QuerySet[Any, Row], *, size: int, after: Any = None) -> Iterator[list[Row]]:
    """Yields the rows in the order of their primary keys, at most `size` at a time, from behind the key
    `after` on.

    Keyset paging: each page is a query of its own, so the rows may be changed meanwhile, no cursor stays
    open, and late pages cost as little as early ones. Of `values` querysets, `pk` has to be the first column.
    """
    rows = rows.order_by("pk")
    while page := list((rows if after is None else rows.filter(pk__gt=after))[:size]):
        yield page
        if len(page) < size:
            return
        last: Any = page[-1]
        after = last.pk if isinstance(last, Model) else last[0]
