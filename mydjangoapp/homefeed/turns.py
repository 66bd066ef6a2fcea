"""Turns: of any number of callers one at a time does something.

Most of them save work and no more. Where the node of a cluster that keeps such a turn is away, each process
takes turns with itself.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from . import scripts
from .feeds_redis import unless_its_node_is_away

_lock = Lock()
_here: dict[str, tuple[str, float]] = {}
"""Turns that this process takes with itself: their tokens, and when they end."""


def begin(turn: str, seconds: float) -> bool:
    """Takes a turn that ends by itself after so many seconds; False if another caller has it.

    One round trip. Raises `FeedsUnavailable`, `FeedsRefused`.
    """
    return _begin(turn, seconds) is not None


@contextmanager
def held(turn: str, seconds: float, *, strictly: bool = False) -> Iterator[bool]:
    """Holds a turn for as long as the block runs, at most for so many seconds; tells whether it was got.
    `strictly`: not where another process could have it, too.

    Two round trips. Raises `FeedsUnavailable`, `FeedsRefused`.
    """
    token = _begin(turn, seconds, strictly=strictly)
    try:
        yield token is not None
    finally:
        if token is not None:
            _end(turn, token)


def _begin(turn: str, seconds: float, *, strictly: bool = False) -> str | None:
    token = secrets.token_hex(8)
    milliseconds = max(1, round(seconds * 1000))
    if strictly:
        return token if scripts.begin_turn([turn], [token, milliseconds]) else None
    with unless_its_node_is_away("each process takes turns with itself"):
        return token if scripts.begin_turn([turn], [token, milliseconds]) else None
    return token if _begin_here(turn, token, seconds) else None


def _begin_here(turn: str, token: str, seconds: float) -> bool:
    now = time.monotonic()
    with _lock:
        for old in [one for one, (_, ends_at) in _here.items() if ends_at <= now]:
            del _here[old]
        return _here.setdefault(turn, (token, now + seconds))[0] == token


def _end(turn: str, token: str) -> None:
    with _lock:
        if _here.get(turn, ("", 0.0))[0] == token:
            del _here[turn]
            return
    with unless_its_node_is_away("a turn ends by itself"):
        scripts.end_turn([turn], [token])
