"""Dead letters of one channel, in Redis. NSQ keeps its own here, too: nsqd has no place for them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from ...connections.redis_server import Store
from ..transport import DeadLetter
from . import keys
from .server import store

PER_CALL = 100


class DeadLetters:
    """A stream, the oldest first. Each call one round trip, unless it says more."""

    def __init__(self, url: str, topic: str, channel: str) -> None:
        self._store: Store = store(url)
        self._key = keys.dead(topic, channel)

    def letters(self) -> Iterator[DeadLetter]:
        """One round trip per 100."""
        begin = "-"
        while True:
            with self._store.edge():
                entries: Any = self._store.client().xrange(self._key, begin, "+", count=PER_CALL)
            for entry_id, fields in entries:
                yield _letter(fields)
                begin = f"({entry_id.decode()}"
            if len(entries) < PER_CALL:
                return

    def purge(self) -> int:
        """Throws all away; returns how many."""
        with self._store.edge():
            pipeline = self._store.client().pipeline(transaction=True)
            pipeline.xlen(self._key)
            pipeline.delete(self._key)
            length, _ = pipeline.execute()
        return int(length)

    def prune(self, seconds: float) -> int:
        """Throws away what is older; returns how many. Two round trips."""
        with self._store.edge():
            pipeline = self._store.client().pipeline(transaction=False)
            pipeline.time()
            pipeline.exists(self._key)  # so that its own server tells the time
            (now, _), _ = pipeline.execute()
            oldest = f"{int((now - seconds) * 1000)}-0"
            return int(self._store.client().xtrim(self._key, minid=oldest, approximate=False))


def _letter(fields: dict[bytes, bytes]) -> DeadLetter:
    found = {name.decode(errors="replace"): value for name, value in fields.items()}
    attempts, reason = int(found.pop("attempts")), found.pop("reason").decode()
    text = {name: value.decode(errors="replace") for name, value in found.items()}
    body: Any = text.get("body", json.dumps(text))
    with contextlib.suppress(ValueError, RecursionError):
        body = json.loads(body)
    return DeadLetter(text.get("id", ""), text.get("action", ""), body, attempts, reason)
