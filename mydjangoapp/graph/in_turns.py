"""Transactions side by side that commit in the order in which they were given."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeAlias, TypeVar

from django.db import connections

from ..exceptions import DATABASE_AWAY

Item = TypeVar("Item")
Result = TypeVar("Result")
_UnderWay: TypeAlias = "deque[tuple[Item, Turn, Future[Result]]]"


class OutOfTurn(Exception):
    """The transaction before this one was rolled back, so this one has to be, too."""


class Turn:
    """The place of one transaction in the order."""

    def __init__(self, before: Turn | None = None, *, alone: bool = False) -> None:
        self._before = before
        self.alone = alone
        """Whether no other is under way."""
        self._ended = Event()
        self._committed = False
        self._begun = Event()

    def has_begun(self) -> None:
        """Lets the next one begin: this one holds the locks that it takes first."""
        self._begun.set()

    def wait(self) -> None:
        """To be called before the commit: returns when the one before has committed. Raises `OutOfTurn`."""
        if self._before is not None:
            self._before._ended.wait()
            if not self._before._committed:
                raise OutOfTurn
            self._before = None  # or each would keep all that were before it

    def wait_until_begun(self) -> None:
        self._begun.wait()

    def wait_until_ended(self) -> None:
        self._ended.wait()

    def end(self, *, committed: bool) -> None:
        self._committed = committed
        self._ended.set()
        self._begun.set()


def in_turns(
    work: Callable[[Item, Turn], Result],
    items: Iterable[Item],
    *,
    side_by_side: int,
    meet: Callable[[Item, Item], bool],
) -> Iterator[Result]:
    """Calls `work` with each item, so many at once, in threads with connections of their own; yields what it
    returns, in order.

    `work` runs a transaction, calls `turn.has_begun()` in it, and `turn.wait()` before its end. So whenever
    it breaks off, what has been committed is a beginning of the items. Items that `meet` are never under
    way together. Where the database refuses one, that one and those after it are done again, one by one.
    """
    if side_by_side == 1:
        for item in items:
            yield work(item, Turn(alone=True))
        return
    under_way: _UnderWay[Item, Result] = deque()
    with ThreadPoolExecutor(side_by_side, thread_name_prefix="in-turns") as pool:
        for item in items:
            while len(under_way) == side_by_side or any(meet(one, item) for one, *_ in under_way):
                yield from _take_first(work, under_way)
            turn = Turn(under_way[-1][1] if under_way else None)
            under_way.append((item, turn, pool.submit(_in_thread, work, item, turn)))
            turn.wait_until_begun()
        while under_way:
            yield from _take_first(work, under_way)


def _take_first(work: Callable[[Item, Turn], Result], under_way: _UnderWay[Item, Result]) -> Iterator[Result]:
    """What the first one returns; what all of them return, if it has failed."""
    first = under_way.popleft()
    try:
        yield first[2].result()
    except (OutOfTurn, *DATABASE_AWAY):
        again = [first, *under_way]
        under_way.clear()
        for _, turn, _ in again:
            turn.wait_until_ended()
        for item, _, _ in again:
            yield work(item, Turn(alone=True))


def _in_thread(work: Callable[[Item, Turn], Result], item: Item, turn: Turn) -> Result:
    committed = False
    try:
        result = work(item, turn)
        committed = True
        return result
    finally:
        turn.end(committed=committed)
        connections.close_all()
