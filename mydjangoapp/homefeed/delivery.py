"""Carrying one photo into home feeds: claim a batch, push it slice by slice, keep the count.

The state of a running fan-out is the hash `fanout:{photo}` and moves in the same atomic step as the
pushes (`lua/slice.lua`). Whoever calls takes the next slice; a worker that dies leaves nothing half
done, and a message that comes twice finds its work already claimed (`lua/claim.lua`).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError, NoScriptError, TimeoutError

from ..conf import conf
from . import keys, scripts
from .connection import client, edge

if TYPE_CHECKING:
    from redis import Redis
    from redis.connection import ConnectionInterface

logger = logging.getLogger(__name__)

# The next link is enqueued when so much of the batch is done: early enough for a second process to
# have it in hand when this one ends, late enough not to run ahead. Measured: benchmarks/README.md.
ENQUEUE_AT = 0.5
ENDED_SECONDS = 600  # how long the hash stays for late readers of the progress


class Verdict(StrEnum):
    """What `lua/claim.lua` says of a message."""

    START = "start"
    NEXT = "next"
    TAKEOVER = "takeover"
    DUPLICATE = "duplicate"
    ENDED = "ended"
    ABSENT = "absent"


class Status(StrEnum):
    """What `lua/slice.lua` says after a slice."""

    MORE = "more"
    OVER = "over"
    ENDED = "ended"
    ABSENT = "absent"


@dataclass(frozen=True)
class Claim:
    """A batch that is ours: followers from index `start` up to, not including, `stop`."""

    verdict: Verdict
    start: int
    stop: int
    ledger_due: bool

    @property
    def granted(self) -> bool:
        return self.verdict in (Verdict.START, Verdict.NEXT, Verdict.TAKEOVER)


@dataclass(frozen=True)
class Progress:
    """Counters of a fan-out as Redis has them. Times are Redis's own, in seconds since 1970."""

    cursor: int
    reached: int
    total: int
    refused: int
    started: float
    beat: float
    idle: float
    ended: bool


def claim(
    photo: int,
    author: object,
    cursor: int,
    *,
    redelivered: bool,
    create: bool = False,
    guard: bool = False,
    has_followers: bool = False,
) -> Claim:
    """Asks for the batch that begins at `cursor`; of any number of callers one gets it.

    `create` begins the chain where Redis knows nothing of it; `guard` then makes each push look
    whether the photo is there already (for a chain whose state was lost, though its pushes may not be).
    """
    verdict, start, stop, since = scripts.claim(
        [keys.fanout(photo), keys.followers(author), keys.state(author), keys.running(author)],
        [photo, cursor, conf.BATCH_SIZE, conf.LEASE_SECONDS]
        + [int(flag) for flag in (redelivered, create, guard, has_followers)],
    )
    return Claim(Verdict(verdict.decode()), int(start), int(stop), ledger_due=since >= 1)


def serve(photo: int, author: object, batch: Claim, enqueue: Callable[[int], None]) -> Status:
    """Pushes the photo to the followers of `batch`, `SLICES_IN_FLIGHT` slices at a time.

    `enqueue` is called once, with the next batch's first index, when a part of this one is done and
    followers are left. Keeps trying for a lease while Redis does not answer, then raises
    `FeedsUnavailable`; whatever was served by then stays served, once.
    Round trips: one per slice, the waiting for one overlapping with the work on another.
    """
    trim_lump = max(1, conf.MAX_LENGTH // 10)
    arguments = [photo, author, *keys.homefeed_words(), conf.SLICE_SIZE, batch.start, batch.stop]
    arguments += [batch.start + int((batch.stop - batch.start) * ENQUEUE_AT), conf.MAX_LENGTH, trim_lump]
    names = [keys.fanout(photo), keys.followers(author), keys.marks(author)]
    names += [keys.state(author), keys.running(author)]
    give_up_at = time.monotonic() + conf.LEASE_SECONDS
    pause = 0.05
    with edge():
        while True:
            try:
                return _serve_in_flight(client(), names, arguments, lambda: enqueue(batch.stop))
            except (ConnectionError, TimeoutError) as error:
                # A slice that timed out may still be carried out; another one takes it from there.
                if time.monotonic() > give_up_at:
                    raise
                logger.warning("photo %s: Redis does not answer, trying again: %s", photo, error)
                time.sleep(pause)
                pause = min(pause * 2, 1.0)


def _serve_in_flight(
    redis: Redis, names: list[str], arguments: list[Any], enqueue: Callable[[], None]
) -> Status:
    by_hash, by_text = scripts.slice_.commands(redis, names, arguments)
    pool = redis.connection_pool
    with ExitStack() as stack:
        waiting: deque[ConnectionInterface] = deque()
        for _ in range(conf.SLICES_IN_FLIGHT):
            connection = pool.get_connection()
            stack.callback(pool.release, connection)
            waiting.append(connection)
        packed = waiting[0].pack_command(*by_hash)
        try:
            for connection in waiting:
                connection.send_packed_command(packed)
            status = Status.MORE
            while waiting:
                connection = waiting.popleft()
                try:
                    reply = connection.read_response()
                except NoScriptError:
                    connection.send_command(*by_text)
                    waiting.append(connection)
                    continue
                status = max(status, _note(reply, enqueue), key=_FINALITY.index)
                if status is Status.MORE:
                    connection.send_packed_command(packed)
                    waiting.append(connection)
            return status
        except BaseException:
            for connection in waiting:  # their replies are still to come; nobody must read them as his
                connection.disconnect()
            raise


_FINALITY = [Status.MORE, Status.OVER, Status.ENDED, Status.ABSENT]


def _note(reply: list[Any], enqueue: Callable[[], None]) -> Status:
    status, enqueue_now, refused, key, error = reply
    if refused:
        logger.warning("%d home feeds refused a photo and were left out, %r among them: %r", refused, key, error)
    if enqueue_now:
        enqueue()
    return Status(status.decode())


def progress(photo: int) -> Progress | None:
    """The counters of a fan-out, None if Redis holds none. One round trip."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.hgetall(keys.fanout(photo))
        pipeline.time()
        raw, (seconds, microseconds) = pipeline.execute()
    if not raw:
        return None
    beat = float(raw[b"beat"])
    return Progress(
        cursor=int(raw[b"cursor"]),
        reached=int(raw[b"reached"]),
        total=int(raw[b"total"]),
        refused=int(raw[b"refused"]),
        started=float(raw[b"started"]),
        beat=beat,
        idle=seconds + microseconds / 1e6 - beat,
        ended=b"ended" in raw,
    )


def retire(photo: int) -> None:
    """Lets the hash of a fan-out go, some minutes after the ledger has its figures. One round trip."""
    with edge():
        client().expire(keys.fanout(photo), ENDED_SECONDS)


def cancel(photo: int, author: object) -> None:
    """Stops a fan-out: whoever carries it finds nothing more to do. One round trip, repeatable."""
    with edge():
        pipeline = client().pipeline(transaction=True)
        pipeline.delete(keys.fanout(photo))
        pipeline.srem(keys.running(author), str(photo))
        pipeline.execute()
