"""How far the broker's queue has come, by the messages that workers have taken (`lua/claim.lua`)."""

from __future__ import annotations

from dataclasses import dataclass

from . import keys, scripts
from .feeds_redis import client, edge


@dataclass(frozen=True)
class Queue:
    """How far the broker's queue has come. `front`: when the latest message that was taken had been sent,
    seconds since 1970. `idle`: for how many seconds none was taken, None if none ever was. `probes`: how
    often the rescue has probed since then, the last time `probed` seconds ago. Seconds are below zero where
    the server's clock was set back."""

    front: float
    idle: float | None
    probes: int
    probed: float


UNKNOWN = Queue(front=0.0, idle=None, probes=0, probed=0.0)


def look() -> Queue:
    """One round trip."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.hmget(keys.queue(), "front", "moved", "probes", "probed")
        pipeline.time()
        (front, moved, probes, probed), (seconds, microseconds) = pipeline.execute()
    now = seconds + microseconds / 1e6
    return Queue(
        front=float(front or 0),
        idle=None if moved is None else now - float(moved),
        probes=int(probes or 0),
        probed=now - float(probed or 0),
    )


def note_taken(sent_at: float) -> None:
    """Notes that a worker has taken a message that was sent then, 0 if that is not known. For a cluster,
    where a claim cannot do it in passing. One round trip, repeatable."""
    scripts.note_taken([keys.queue()], [sent_at])


def note_probe() -> None:
    """Notes that the rescue has probed the queue. Two round trips."""
    with edge():
        pipeline = client().pipeline(transaction=True)
        pipeline.time()
        pipeline.hincrby(keys.queue(), "probes", 1)
        (seconds, microseconds), _ = pipeline.execute()
        client().hset(keys.queue(), "probed", f"{seconds + microseconds / 1e6:.6f}")
