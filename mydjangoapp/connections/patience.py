"""How long something may wait for servers that do not answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

FREE = 0.05  # seconds; a server that is well answers within


class Budget:
    """Seconds from now on; a loop that has used them up stops and leaves the rest for the next call."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends_at = time.monotonic() + seconds

    @property
    def is_spent(self) -> bool:
        """Whether they are over."""
        return time.monotonic() >= self._ends_at


class Patience:
    """Seconds that all steps of one commit together may wait for Redis, cache and broker. Only calls that
    take longer than `FREE` count, so a step with many quick calls is not cut off."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds


_current: ContextVar[Patience | None] = ContextVar("patience", default=None)


@contextmanager
def bounded_by(patience: Patience | None) -> Iterator[None]:
    """Limits how long all calls inside the block may wait together; with None there is no limit."""
    before = _current.set(patience)
    try:
        yield
    finally:
        _current.reset(before)


def is_bounded() -> bool:
    """Whether a caller is waiting that must not wait for long."""
    return _current.get() is not None


def is_over() -> bool:
    """Whether nothing is left: then a call fails at once."""
    patience = _current.get()
    return patience is not None and patience.left <= 0


def seconds(most: float) -> float:
    """How long a call may wait now, at most so many seconds."""
    patience = _current.get()
    return most if patience is None else max(0.0, min(most, patience.left))


@contextmanager
def waiting() -> Iterator[None]:
    """Around each call that waits for a server."""
    began = time.monotonic()
    try:
        yield
    finally:
        if patience := _current.get():
            took = time.monotonic() - began
            patience.left -= took if took > FREE else 0.0
