"""Turns: of any number of callers one at a time does something."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from . import scripts


def begin(turn: str, seconds: float) -> bool:
    """Takes a turn that ends by itself after so many seconds; False if another caller has it.

    One round trip. Raises `FeedsUnavailable`, `FeedsRefused`.
    """
    return _begin(turn, seconds) is not None


@contextmanager
def held(turn: str, seconds: float) -> Iterator[bool]:
    """Holds a turn for as long as the block runs, at most for so many seconds; tells whether it was got.

    Two round trips. Raises `FeedsUnavailable`, `FeedsRefused`.
    """
    token = _begin(turn, seconds)
    try:
        yield token is not None
    finally:
        if token is not None:
            scripts.end_turn([turn], [token])


def _begin(turn: str, seconds: float) -> str | None:
    token = secrets.token_hex(8)
    milliseconds = max(1, round(seconds * 1000))
    return token if scripts.begin_turn([turn], [token, milliseconds]) else None
