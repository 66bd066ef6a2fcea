"""One process's part in a channel."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from ...conf import conf
from ...connections.redis_server import Store
from ...exceptions import EventsRefused
from .. import transport
from ..message import Delivery
from . import keys
from .server import run, store

SWEEP_SECONDS = 1.0  # how late a message that timed out may be noticed
VANISHED_SECONDS = 600.0  # a consumer that has not asked for so long and has nothing in hand is forgotten
TIDY_SECONDS = 10.0  # between two looks at vanished consumers, and at what can be cut off


class Topics(Protocol):
    """What a consumer needs of its transport."""

    url: str

    def subscribe(self, topic: str, channel: str, *, from_beginning: bool = False) -> bool: ...

    def trim(self, topic: str) -> int: ...

    def note(self, topic: str) -> None: ...


class RedisConsumer(transport.Consumer):
    """Reads two streams: the topic's, and the channel's own with what comes again.

    Redis keeps what each consumer has in hand, since when, and how often it was delivered (the group's
    pending entries); so a message that timed out is one that has been pending for long.
    """

    def __init__(self, of: Topics, topic: str, channel: str, timeout: float) -> None:
        self._of, self._topic, self._channel = of, topic, channel
        self._url = of.url
        self._timeout_ms = max(1, round(timeout * 1000))
        self._name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._main, self._again = keys.stream(topic), keys.again(topic, channel)
        self._spare: deque[Delivery] = deque()
        self._sweep_at = 0.0
        self._tidy_at = 0.0
        with self._store.edge():  # Redis 7.0 would show it with its first message only
            self._store.client().xgroup_createconsumer(self._main, channel, self._name)

    @property
    def _store(self) -> Store:
        return store(self._url)

    def take(self, most: int, wait: float) -> Sequence[Delivery]:
        """One round trip a second, and one more to see what has come back."""
        if not self._spare:
            self._spare.extend(self._some(most, wait))
        return [self._spare.popleft() for _ in range(min(most, len(self._spare)))]

    def _some(self, most: int, wait: float) -> Sequence[Delivery]:
        """At most so many of each stream."""
        end = time.monotonic() + wait
        while not (found := self._take(most, end - time.monotonic())):
            if time.monotonic() >= end:
                break
        return found

    def _take(self, most: int, wait: float) -> list[Delivery]:
        try:
            if (now := time.monotonic()) >= self._sweep_at and (found := self._sweep(most)):
                return found
            return self._read(most, min(wait, self._sweep_at - now, conf.REDIS_TIMEOUT / 2))
        except EventsRefused as error:
            if "UNBLOCKED" in str(error):  # the node was demoted while it waited for messages
                return []
            if "NOGROUP" not in str(error):
                raise
            # Somebody deleted the stream or the group: it is made again where it stood.
            self._of.subscribe(self._topic, self._channel, from_beginning=True)
            return []

    def _read(self, most: int, wait: float) -> list[Delivery]:
        with self._store.edge():
            found: Any = self._store.client().xreadgroup(
                self._channel,
                self._name,
                {self._again: ">", self._main: ">"},
                count=most,
                block=max(1, round(wait * 1000)),
            )
        return [
            _delivery(stream.decode(), entry, fields or {}, 1)
            for stream, entries in found or ()
            for entry, fields in entries
        ]

    def _sweep(self, most: int) -> list[Delivery]:
        later = [keys.later(self._topic, self._channel), keys.publish_later(self._topic)]
        streams = [self._main, self._again]
        due, number, entry, fields, times = run(
            self._url, "sweep", [*streams, *later], [self._channel, self._name, self._timeout_ms, most]
        )
        found = []
        if number:
            of = dict(zip(fields[::2], fields[1::2], strict=True))
            found = [_delivery(streams[number - 1], entry, of, times, is_suspect=True)]
        now = time.monotonic()
        wait = SWEEP_SECONDS if due < 0 else min(SWEEP_SECONDS, due / 1000 + 0.001)
        self._sweep_at = now if found else now + wait  # another may have timed out, too
        if now >= self._tidy_at:
            self._leave("")
            self._of.trim(self._topic)
            self._of.note(self._topic)
            self._tidy_at = now + min(TIDY_SECONDS, VANISHED_SECONDS / 10)
        return found

    def _leave(self, name: str) -> None:
        run(
            self._url,
            "leave",
            [self._main, self._again],
            [self._channel, name, round(VANISHED_SECONDS * 1000)],
        )

    def remembered(self, ids: Sequence[str]) -> set[str]:
        with self._store.edge():
            found: Any = self._store.client().zmscore(keys.done(self._topic, self._channel), list(ids))
        return {id_ for id_, at in zip(ids, found, strict=True) if at is not None}

    def finish(self, deliveries: Sequence[Delivery], *, remember: bool = True) -> None:
        main = [one.receipt[1] for one in deliveries if one.receipt[0] == self._main]
        again = [one.receipt[1] for one in deliveries if one.receipt[0] == self._again]
        ids = [one.id for one in deliveries] if remember else []
        run(
            self._url,
            "finish",
            [
                self._main,
                self._again,
                keys.done(self._topic, self._channel),
                keys.channels(self._topic),
            ],
            [self._channel, conf.EVENTS_REMEMBER, len(main), len(again), *main, *again, *ids],
        )

    def requeue(self, delivery: Delivery, delay: float, *, count_attempt: bool) -> bool:
        attempts = delivery.attempts if count_attempt else delivery.attempts - 1
        return self._move(
            "requeue", keys.later, delivery, [max(0, round(delay * 1000)), attempts], back_in=delay
        )

    def bury(self, delivery: Delivery, reason: str) -> bool:
        return self._move("bury", keys.dead, delivery, [delivery.attempts, reason])

    def _move(
        self, script: str, to: Any, delivery: Delivery, args: list[Any], back_in: float | None = None
    ) -> bool:
        stream, entry = delivery.receipt
        own = "1" if stream == self._again else "0"
        moved = run(
            self._url,
            script,
            [stream, to(self._topic, self._channel)],
            [self._channel, self._name, entry, *args, own],
        )
        if back_in is not None:
            self._sweep_at = min(self._sweep_at, time.monotonic() + back_in)
        return bool(moved)

    def touch(self, delivery: Delivery) -> bool:
        stream, entry = delivery.receipt
        held = bool(run(self._url, "touch", [stream], [self._channel, self._name, entry]))
        if held:
            delivery.taken_at = time.monotonic()
        return held

    def close(self) -> None:
        """What was read and not taken is given back, uncounted."""
        while self._spare:
            self.requeue(self._spare.popleft(), 0, count_attempt=False)
        self._leave(self._name)


def _delivery(
    stream: str, entry: bytes, fields: dict[bytes, bytes], times: int, *, is_suspect: bool = False
) -> Delivery:
    before = fields.get(b"attempts", b"0")
    return Delivery(
        receipt=(stream, entry),
        id=fields.get(b"id", b"").decode(errors="replace"),
        action=fields.get(b"action", b"").decode(errors="replace"),
        body=fields.get(b"body", b""),
        published_at=fields.get(b"published_at", b"").decode(errors="replace"),
        attempts=times + (int(before) if before.isdigit() else 0),
        is_suspect=is_suspect,
    )
