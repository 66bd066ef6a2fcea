"""Writing a channel's messages to a file, one JSON object per line."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from more_itertools import constrained_batches

from ..exceptions import FeedError
from .message import Delivery
from .transport import Consumer

logger = logging.getLogger(__name__)

TAIL = 1 << 20  # bytes at the end of the file in which a message that comes again is looked for
AT_ONCE = 200  # messages an fsync
AWAY_PAUSE = 1.0  # seconds


class LinesFile:
    """A file of lines that may be killed at any byte: a line that was cut off is taken away at the start.

    Nobody else may write to it meanwhile (flock). Raises `OSError`, `BlockingIOError` if somebody does.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self._file: BinaryIO = self._path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.ids = self._mend()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _mend(self) -> set[str]:
        """Cuts an unfinished last line off; returns the ids in the lines at the end."""
        length = self._file.seek(0, os.SEEK_END)
        begin, tail = length, b""
        while begin > 0 and (len(tail) < TAIL or b"\n" not in tail):
            step = min(begin, TAIL)
            begin -= step
            self._file.seek(begin)
            tail = self._file.read(step) + tail
        whole = tail.rfind(b"\n") + 1
        if whole < len(tail):
            self._file.truncate(begin + whole)
            os.fsync(self._file.fileno())
        return {found for line in tail[:whole].splitlines() if (found := _id(line))}

    def append(self, messages: list[dict[str, Any]]) -> None:
        """Returns when the lines are on disk."""
        lines = b"".join(json.dumps(one).encode() + b"\n" for one in messages)
        self._file.seek(0, os.SEEK_END)
        self._file.write(lines)
        self._file.flush()
        os.fsync(self._file.fileno())


def _id(line: bytes) -> str:
    try:
        found = json.loads(line)
    except ValueError:
        return ""
    return str(found.get("id", "")) if isinstance(found, dict) else ""


def listen(
    consumer: Consumer, topic: str, file: LinesFile, *, most: int | None, stopping: Callable[[], bool]
) -> int:
    """Appends messages until `most` are written or `stopping`; returns how many.

    Acknowledged only when on disk. One that was written, and comes again because the process was killed
    before it could say so, is not written twice.
    """
    written = 0
    while not stopping() and (most is None or written < most):
        room = AT_ONCE if most is None else min(AT_ONCE, most - written)
        try:
            for taken in _small(consumer.take(room, 1.0)):
                messages = [found for one in taken if (found := _opened(consumer, topic, one, file.ids))]
                if messages:
                    file.append(messages)
                    file.ids.update(str(one["id"]) for one in messages)
                    written += len(messages)
                _finish(consumer, [one for one in taken if one.id in file.ids], stopping)
        except FeedError as error:
            logger.error("nothing can be taken: %s", error)
            time.sleep(AWAY_PAUSE)  # between two attempts
        if len(file.ids) > 100_000:
            file.ids.clear()  # what was written so long ago has been acknowledged
    return written


def _small(taken: Sequence[Delivery]) -> Iterator[Sequence[Delivery]]:
    """Yields parts to write and then acknowledge: the tail must hold all that is not acknowledged.
    JSON takes at most six bytes to escape one byte."""
    return constrained_batches(taken, TAIL // 8, strict=False, get_len=lambda one: 6 * len(one.body) + 1_000)


def _opened(consumer: Consumer, topic: str, delivery: Delivery, written: set[str]) -> dict[str, Any] | None:
    if delivery.id in written:
        return None
    try:
        body = delivery.opened()
    except ValueError as error:
        consumer.bury(delivery, str(error))
        return None
    return {
        "id": delivery.id,
        "topic": topic,
        "action": delivery.action,
        "body": body,
        "attempts": delivery.attempts,
        "published_at": delivery.published_at,
    }


def _finish(consumer: Consumer, deliveries: list[Delivery], stopping: Callable[[], bool]) -> None:
    while deliveries:
        try:
            consumer.finish(deliveries)
            return
        except FeedError as error:
            logger.error("%d lines are written and not acknowledged yet: %s", len(deliveries), error)
            if stopping():
                return
            time.sleep(AWAY_PAUSE)  # between two attempts
