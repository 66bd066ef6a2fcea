"""Transactions side by side that commit in the order in which they were given."""

from __future__ import annotations

import contextvars
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeAlias, TypeVar

from django.db import connections

from ..exceptions import DATABASE_AWAY

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
_UnderWay: TypeAlias = "deque[tuple[Item, Position, Future[Result]]]"


class OneBeforeFailed(Exception):
    """The transaction before this one was rolled back, so this one has to be, too."""


class Position:
    """The place of one transaction in the order."""

    def __init__(self, before: Position | None = None, *, alone: bool = False) -> None:
        self._before = before
        self.alone = alone
        """Whether no other is under way."""
        self._ended = Event()
        self._committed = False
        self._begun = Event()

    def has_begun(self) -> None:
        """Lets the next one begin: this one holds the locks that it takes first."""
        self._begun.set()

    def wait_until_begun(self) -> None:
        self._begun.wait()

    def wait_to_commit(self) -> None:
        """Returns when the one before has committed. Raises `OneBeforeFailed`."""
        if self._before is not None:
            self._before.wait_until_ended()
            if not self._before._committed:
                raise OneBeforeFailed
            self._before = None  # or each would keep all that were before it

    def wait_until_ended(self) -> None:
        self._ended.wait()

    def end(self, *, committed: bool) -> None:
        self._committed = committed
        self._ended.set()
        self._begun.set()


def in_order(
    work: Callable[[Item, Position], Result],
    items: Iterable[Item],
    *,
    side_by_side: int,
    meet: Callable[[Item, Item], bool],
) -> Generator[Result, None, None]:
    """Runs `work` for each item, `side_by_side` at a time, each in a thread with a connection of its own.
    Yields the results in order.

    `work` runs a transaction, calls `position.has_begun()` in it, and `position.wait_to_commit()` at its end.
    However it breaks off, the committed items are the first ones, without a gap. Items that `meet` are never
    under way together. Where the database refuses one, that one and those after it are done again, one by
    one, in the caller's thread. With `side_by_side` of 1 all are.
    """
    if side_by_side == 1:
        for item in items:
            yield work(item, Position(alone=True))
        return
    under_way: _UnderWay[Item, Result] = deque()
    coming, broken_off = iter(items), None
    with ThreadPoolExecutor(side_by_side, thread_name_prefix="in-order") as pool:
        while True:
            try:
                item = next(coming)
            except StopIteration:
                break
            except Exception as error:  # after what is under way
                broken_off = error
                break
            while len(under_way) == side_by_side or any(meet(other, item) for other, *_ in under_way):
                yield from _take_first(work, under_way)
            position = Position(under_way[-1][1] if under_way else None)
            context = contextvars.copy_context()
            under_way.append((item, position, pool.submit(context.run, _in_thread, work, item, position)))
            position.wait_until_begun()
        while under_way:
            yield from _take_first(work, under_way)
    if broken_off is not None:
        raise broken_off


def _take_first(
    work: Callable[[Item, Position], Result], under_way: _UnderWay[Item, Result]
) -> Iterator[Result]:
    """Yields the first result. If that transaction failed, runs all of them again, one by one."""
    first = under_way.popleft()
    try:
        result = first[2].result()
    except (OneBeforeFailed, *DATABASE_AWAY) as error:
        logger.warning("%d transactions are done again, one by one: %s", 1 + len(under_way), error)
        again = [first, *under_way]
        under_way.clear()
        for _, position, _ in again:
            position.wait_until_ended()
        for item, _, _ in again:
            yield work(item, Position(alone=True))
    else:
        yield result


def _in_thread(work: Callable[[Item, Position], Result], item: Item, position: Position) -> Result:
    committed = False
    try:
        result = work(item, position)
        committed = True
        return result
    finally:
        position.end(committed=committed)
        connections.close_all()
