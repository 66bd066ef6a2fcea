"""Keeps callers from asking a server that has just failed to answer."""

from __future__ import annotations

import time
from threading import Lock


class Breaker:
    """A circuit breaker (Michael Nygard, "Release It!"): a caller that gets no answer from a server calls
    `trip`, and for some seconds nobody asks that server. Then one caller tries while the others still do
    not ask it; when that caller calls `reset`, all may ask again.

    Without it each web request would wait for each of its calls to a server that is a black hole, and
    soon no thread would be left. pybreaker was not taken: it holds a lock during the call, so one
    caller at a time would get through. Safe for threads; each process finds out for itself.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._rests_until = 0.0
        self._lock = Lock()

    def allows(self) -> bool:
        """Whether to ask the server now."""
        if not self._rests_until:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._rests_until:
                return False
            self._rests_until = now + self._seconds
            return True

    def trip(self) -> None:
        """The server did not answer in time."""
        self._rests_until = time.monotonic() + self._seconds

    def reset(self) -> None:
        """It answered."""
        self._rests_until = 0.0
