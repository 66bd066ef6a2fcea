"""Transactions side by side, in order: with work that a test can hold up, and no database."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from threading import Event

import pytest
from django.db import OperationalError

from mydjangoapp.graph.in_order import Position, in_order

TENANT: ContextVar[str] = ContextVar("tenant", default="nobody's")


def never(one: object, other: object) -> bool:
    return False


class Committed(list[int]):
    """Work that writes down what it has committed; `broken` items fail at their first try."""

    def __init__(self, broken: dict[int, Exception] | None = None) -> None:
        super().__init__()
        self.broken = dict(broken or {})
        self.alone: list[int] = []

    def __call__(self, item: int, position: Position) -> int:
        position.has_begun()
        if error := self.broken.pop(item, None):
            raise error
        position.wait_to_commit()
        self.append(item)
        if position.alone:
            self.alone.append(item)
        return item * 10


def test_they_run_side_by_side_and_commit_in_order() -> None:
    committed, second_is_written = Committed(), Event()

    def work(item: int, position: Position) -> int:
        if item == 1:
            position.has_begun()
            assert second_is_written.wait(30), "the second does not run beside the first"
        elif item == 2:
            second_is_written.set()
        return committed(item, position)

    assert list(in_order(work, range(1, 7), side_by_side=2, meet=never)) == [10, 20, 30, 40, 50, 60]
    assert committed == [1, 2, 3, 4, 5, 6]


def test_what_the_database_refuses_is_done_again_in_its_place(caplog: pytest.LogCaptureFixture) -> None:
    committed = Committed({3: OperationalError("deadlock detected")})
    assert list(in_order(committed, range(1, 7), side_by_side=2, meet=never)) == [10, 20, 30, 40, 50, 60]
    assert committed == [1, 2, 3, 4, 5, 6]
    assert committed.alone[0] == 3
    assert "deadlock detected" in caplog.text


def test_what_is_refused_twice_ends_it_and_nothing_after_it_is_committed() -> None:
    class Away(Committed):
        def __call__(self, item: int, position: Position) -> int:
            if item == 3:
                position.has_begun()
                raise OperationalError("server closed the connection")
            return super().__call__(item, position)

    committed = Away()
    with pytest.raises(OperationalError, match="closed"):
        list(in_order(committed, range(1, 9), side_by_side=3, meet=never))
    assert committed == [1, 2]


def test_any_other_error_ends_it_and_nothing_after_it_is_committed() -> None:
    committed = Committed({3: ValueError("no user")})
    with pytest.raises(ValueError, match="no user"):
        list(in_order(committed, range(1, 9), side_by_side=3, meet=never))
    assert committed == [1, 2]


def test_items_that_break_off_are_heard_of_after_what_is_under_way() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("line 3")

    committed = Committed({1: OperationalError("deadlock detected")})
    results: list[int] = []
    with pytest.raises(ValueError, match="line 3"):
        results.extend(in_order(committed, items(), side_by_side=2, meet=never))
    assert committed == [1, 2]


def test_items_that_meet_are_never_under_way_together() -> None:
    under_way: set[int] = set()
    committed = Committed()

    def work(item: int, position: Position) -> int:
        assert not any(other % 2 == item % 2 for other in under_way)
        under_way.add(item)
        result = committed(item, position)
        under_way.remove(item)
        return result

    def both_odd_or_even(one: int, other: int) -> bool:
        return one % 2 == other % 2

    items = [1, 3, 2, 4, 5, 6]
    assert len(list(in_order(work, items, side_by_side=3, meet=both_odd_or_even))) == 6
    assert committed == items


def test_the_callers_context_goes_along() -> None:
    def work(item: int, position: Position) -> str:
        position.has_begun()
        position.wait_to_commit()
        return TENANT.get()

    token = TENANT.set("shop")
    try:
        assert list(in_order(work, [1, 2], side_by_side=2, meet=never)) == ["shop", "shop"]
    finally:
        TENANT.reset(token)
