"""What goes over the wire: commands, frames, and the envelope around a message's body."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..message import Delivery, Outgoing

MAGIC = b"  V2"
RESPONSE, ERROR, MESSAGE = 0, 1, 2
HEARTBEAT, CLOSE_WAIT = b"_heartbeat_", b"CLOSE_WAIT"
HEADER = struct.Struct(">iI")
_MESSAGE = struct.Struct(">qH16s")
_LENGTH = struct.Struct(">I")
HARMLESS = (b"E_FIN_FAILED", b"E_REQ_FAILED", b"E_TOUCH_FAILED")  # after every other error nsqd closes


class Frame(NamedTuple):
    """A message as nsqd sends it. `attempts` counts deliveries, from 1."""

    id: bytes
    attempts: int
    body: bytes


def command(name: str, *words: object) -> bytes:
    """A command without body."""
    return " ".join([name, *map(str, words)]).encode() + b"\n"


def on(name: str, id_: bytes, *words: object) -> bytes:
    """A command about a message."""
    return b" ".join([name.encode(), id_, *(str(word).encode() for word in words)]) + b"\n"


def identify(options: dict[str, Any]) -> bytes:
    """The command that introduces a client."""
    body = json.dumps(options).encode()
    return b"IDENTIFY\n" + _LENGTH.pack(len(body)) + body


def message(data: bytes) -> Frame:
    """Opens the data of a frame of type `MESSAGE`."""
    _, attempts, id_ = _MESSAGE.unpack_from(data)
    return Frame(id_, attempts, data[_MESSAGE.size :])


def many(bodies: Sequence[bytes]) -> bytes:
    """The body of `/mpub?binary=true`."""
    parts = [_LENGTH.pack(len(bodies))]
    for body in bodies:
        parts += [_LENGTH.pack(len(body)), body]
    return b"".join(parts)


def envelope(one: Outgoing, channel: str = "", attempts: int = 0) -> bytes:
    """What is put into nsqd. `channel`: the only one it is for; `attempts` it has had before."""
    around: dict[str, Any] = {"id": one.id, "action": one.action, "published_at": one.published_at}
    if channel:
        around |= {"channel": channel, "attempts": attempts}
    # The body is JSON text already.
    return f'{json.dumps(around)[:-1]}, "body": {one.body}}}'.encode()


def opened(frame: Frame, receipt: Any) -> tuple[Delivery, str]:
    """The message in a frame, and the channel it is for if it is for one only.

    What another program has put there may lack an id: nsqd's own counts then.
    """
    id_ = frame.id.decode(errors="replace")
    try:
        around = json.loads(frame.body)
    except (ValueError, RecursionError):
        around = None
    if not isinstance(around, dict) or not isinstance(around.get("action"), str):
        action = "" if isinstance(around, dict) else "?"
        return Delivery(
            receipt, id_, action, frame.body, "", frame.attempts, is_suspect=frame.attempts > 1
        ), ""
    before = around.get("attempts", 0)
    # nsqd does not say whether it timed out or was requeued: it is a suspect both ways.
    attempts = frame.attempts + (before if isinstance(before, int) else 0)
    delivery = Delivery(
        receipt=receipt,
        id=str(around.get("id") or id_),
        action=around["action"],
        body=json.dumps(around.get("body"), separators=(",", ":")),
        published_at=str(around.get("published_at", "")),
        attempts=attempts,
        is_suspect=attempts > 1,
    )
    channel = around.get("channel")
    return delivery, channel if isinstance(channel, str) else ""
