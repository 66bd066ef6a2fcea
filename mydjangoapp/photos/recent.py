"""What a process used lately."""

from __future__ import annotations

from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Keeps the values that were used lately: at least the last `least`, at most twice as many.

    Two dicts instead of an order: what is used moves into the younger one, and when that is full, the older
    one goes. Safe for threads: two that meet lose a value at most.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        self._younger: dict[Key, Value] = {}
        self._older: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        """The value, None if it is not kept."""
        value = self._younger.get(key)
        if value is None and (value := self._older.get(key)) is not None:
            self.keep(key, value)
        return value

    def keep(self, key: Key, value: Value) -> None:
        """Keeps it from now on."""
        if len(self._younger) >= self._least:
            self._older, self._younger = self._younger, {}
        self._younger[key] = value

    def forget(self, key: Key) -> None:
        """Keeps it no longer."""
        self._younger.pop(key, None)
        self._older.pop(key, None)
