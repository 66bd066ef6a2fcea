"""What is published, what a transport takes, and what a handler gets."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from ..exceptions import BadEvent

NAME = re.compile(r"[.a-zA-Z0-9_-]{1,64}")  # NSQ's, so that a name that works works everywhere
ACTION_LENGTH = 100
BODY_BYTES = 1_000_000  # nsqd takes a mebibyte, with what is around the body


def check_name(field_: str, name: str) -> str:
    """The name of a topic or channel. Raises `BadEvent`."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadEvent(
            field_, f"must be 1 to 64 letters, digits, dots, hyphens or underscores, not {name!r}."
        )
    return name


@dataclass(frozen=True)
class Outgoing:
    """A message to be published; `body` is JSON text, `id` its own for ever, however often it is sent."""

    id: str
    topic: str
    action: str
    body: str
    published_at: str

    @classmethod
    def new(cls, topic: str, action: str, body: Any) -> Outgoing:
        """Raises `BadEvent` for what is no JSON object or too large."""
        check_name("topic", topic)
        if not isinstance(action, str) or not 0 < len(action) <= ACTION_LENGTH or not action.isprintable():
            said = f"must be 1 to {ACTION_LENGTH} printable characters, not {action!r}."
            raise BadEvent("action", said)
        if not isinstance(body, dict):
            raise BadEvent("body", f"must be a JSON object (a dict), not {type(body).__name__}.")
        try:
            text = json.dumps(body, cls=DjangoJSONEncoder, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise BadEvent("body", f"cannot be written as JSON: {error}.") from error
        if len(text) > BODY_BYTES:
            raise BadEvent("body", f"has {len(text):,} bytes as JSON, {BODY_BYTES:,} are the most.")
        return cls(uuid.uuid4().hex, topic, action, text, now())


def now() -> str:
    """Of a message: UTC, ISO 8601, microseconds; sorts as text."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(eq=False, slots=True)
class Delivery:
    """A message as a transport took it. `receipt` is the transport's own; `attempts` counts from 1.

    `is_suspect`: it was taken before and not finished, so it may have killed its taker. It is taken
    alone, so that what is beside it does not die with it.
    """

    receipt: Any
    id: str
    action: str
    body: str | bytes
    published_at: str
    attempts: int
    is_suspect: bool = False
    taken_at: float = field(default_factory=time.monotonic)

    def opened(self) -> dict[str, Any]:
        """The body. Raises `ValueError` with the reason if this is no message."""
        if not self.id or not self.action:
            raise ValueError("it has no id or no action")
        try:
            body = json.loads(self.body, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"its body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise ValueError(f"its body is not a JSON object but {type(body).__name__}")
        return body


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


@dataclass(slots=True)
class Requeued:
    """`delay`: seconds, None for the back-off."""

    delay: float | None
    count_attempt: bool


@dataclass(slots=True)
class Message:
    """What a handler gets. Returning finishes it; raising lets it come again, later each time.

    `attempts` counts deliveries to this channel, from 1. `published_at`: UTC, ISO 8601.
    """

    id: str
    topic: str
    action: str
    body: dict[str, Any]
    attempts: int
    published_at: str
    _touch: Callable[[], bool] = field(repr=False)
    _outcome: Requeued | str | None = field(default=None, repr=False)

    def requeue(self, delay: float | None = None, count_attempt: bool = True) -> None:
        """Lets it come again when the handler has returned, in `delay` seconds (default: the back-off).

        With `count_attempt=False` this delivery does not count, so it may come any number of times.
        """
        if delay is not None and not 0 <= delay <= 365 * 86_400:
            raise ValueError(f"delay: must be between 0 seconds and a year, not {delay!r}.")
        self._outcome = Requeued(delay, count_attempt)

    def dead(self, reason: str) -> None:
        """Sends it to the dead letters when the handler has returned."""
        self._outcome = str(reason) or "no reason given"

    def touch(self) -> bool:
        """Begins its time-out anew; False if another worker has it by now."""
        return self._touch()
