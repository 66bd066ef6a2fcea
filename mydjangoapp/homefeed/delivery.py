"""Carrying one photo into home feeds: claim a batch, push it slice by slice, keep the count.

The state of a running fan-out is the hash `fanout:{photo}` and moves in the same atomic step as the
pushes (`lua/slice.lua`). Whoever calls takes the next slice; a worker that dies leaves nothing half
done, and a message that comes twice finds its work already claimed (`lua/claim.lua`).
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from threading import Thread
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

from .. import failpoints
from ..conf import conf
from ..exceptions import FeedsUnavailable
from . import keys, scripts, turns
from .feeds_redis import client, edge

if TYPE_CHECKING:
    from redis import Redis
    from redis.connection import ConnectionInterface

logger = logging.getLogger(__name__)

# The next link is enqueued when so much of the batch is done, so that a second process has it in hand
# before this one ends. Without that Redis would wait for the broker at each seam.
ENQUEUE_AT = 0.5
TRIM_SHARE = 10  # lists grow by a tenth of MAX_LENGTH before they are cut back, all at once
RETRY_SECONDS = 0.2
ENDED_SECONDS = 600  # how long the hash stays for late readers of the progress
GUARD_AFTER = 3_600  # seconds; a chain that begins or goes on so late looks before each push,
BUILT_SECONDS = 86_400  # because what is known of lists built meanwhile is kept for a limited time
LARGEST_ID = 2**53 - 1  # of a photo: Lua's numbers are exact up to there


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
    ended: float | None
    """When nobody was left to serve; None while somebody is."""

    @property
    def ended_at(self) -> datetime | None:
        return None if self.ended is None else datetime.fromtimestamp(self.ended, UTC)


def claim(
    photo: int,
    author: object,
    cursor: int,
    *,
    redelivered: bool,
    create: bool = False,
    guard: bool = False,
    has_followers: bool = False,
    sent_at: float = 0.0,
) -> Claim:
    """Asks for the batch that begins at `cursor`; of any number of callers one gets it.

    `create` begins the chain where Redis knows nothing of it; `guard` then makes each push look
    whether the photo is there already (for a chain whose state was lost, though its pushes may not be).
    `sent_at`: when the message was sent, in seconds since 1970, 0 if that is not known.
    """
    verdict, start, stop, since = scripts.claim(
        [keys.fanout(photo), keys.followers(author), keys.state(author), keys.running(author), keys.queue()],
        [photo, cursor, conf.BATCH_SIZE, conf.LEASE_SECONDS]
        + [int(flag) for flag in (redelivered, create, guard, has_followers)]
        + [str(author), secrets.token_hex(8), sent_at, GUARD_AFTER],
    )
    return Claim(Verdict(verdict.decode()), int(start), int(stop), ledger_due=since >= 1)


def serve(photo: int, author: object, batch: Claim, enqueue: Callable[[int], bool]) -> Status:
    """Pushes the photo to the followers of `batch`, slice by slice, until the batch is served.

    `enqueue` is called in a thread of its own, with the next batch's first index, when a part of this
    one is done and followers are left behind it, and again if it answered False. When that next task
    begins it takes over what is left of this batch. Keeps trying for a lease while Redis does not
    answer, then raises `FeedsUnavailable`; whatever was served by then stays served, once.
    Round trips: one per slice, `SLICES_IN_FLIGHT` of them open at once.
    """
    names = [keys.fanout(photo), keys.followers(author), keys.marks(author)]
    names += [keys.state(author), keys.running(author), keys.built(photo)]
    enqueue_at = batch.start + int((batch.stop - batch.start) * ENQUEUE_AT)
    arguments = [photo, str(author), *keys.homefeed_words(), conf.SLICE_SIZE]
    arguments += [
        batch.start,
        batch.stop,
        enqueue_at,
        conf.MAX_LENGTH,
        trim_slack(),
        int(conf.INACTIVE_AFTER is not None),
    ]
    give_up_at = time.monotonic() + conf.LEASE_SECONDS
    order = _Order(enqueue, photo, batch.stop)
    try:
        while True:
            try:
                with edge():
                    status = _serve_in_flight(client(), names, arguments, photo, order)
                break
            except FeedsUnavailable as error:
                # A slice that timed out may still be carried out; the next one takes it from there.
                # The order to enqueue may have been lost with its reply; one too many does no harm.
                if time.monotonic() > give_up_at:
                    raise
                logger.warning("photo %s: trying again: %s", photo, error)
                order.is_due = True
                time.sleep(RETRY_SECONDS)  # before the command is repeated
    finally:
        order.join()
    if status is Status.OVER:
        order.make_sure(give_up_at)
    return status


def trim_slack() -> int:
    """By how many ids a list may exceed `MAX_LENGTH` before it is cut back."""
    return max(1, conf.MAX_LENGTH // TRIM_SHARE)


class _Order:
    """Enqueues the next link in a thread: the broker may take its time, and Redis must not wait for the
    next slice meanwhile."""

    def __init__(self, enqueue: Callable[[int], bool], photo: int, link: int) -> None:
        self._photo = photo
        self._enqueue = enqueue
        self._link = link
        self._thread: Thread | None = None
        self.is_due = False

    def __call__(self) -> None:
        self.join()
        self.is_due = True
        self._thread = Thread(target=self._send, name="enqueue")
        self._thread.start()

    def _send(self) -> None:
        self.is_due = not self._enqueue(self._link)
        if not self.is_due:
            failpoints.reach("enqueued", self._photo)

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def make_sure(self, give_up_at: float) -> None:
        """Tries again what has failed, until it is time to leave it to the rescue."""
        while self.is_due and time.monotonic() < give_up_at:
            self._send()
            if self.is_due:
                time.sleep(RETRY_SECONDS)  # before the message is sent again


def _serve_in_flight(
    redis: Redis, names: list[str], arguments: list[Any], photo: int, order: _Order
) -> Status:
    by_hash, by_text = scripts.slice_.commands(redis, names, arguments)
    pool = redis.connection_pool
    with ExitStack() as stack:
        waiting: deque[ConnectionInterface] = deque()
        for _ in range(conf.SLICES_IN_FLIGHT):
            waiting.append(pool.get_connection())
            stack.callback(pool.release, waiting[-1])  # type: ignore[arg-type]  # an interface of it
        packed = waiting[0].pack_command(*by_hash)
        # What is left open when an error comes up is closed: nobody must read another's reply.
        stack.callback(lambda: [connection.disconnect() for connection in waiting])
        for connection in waiting:
            connection.send_packed_command(packed)
        status = Status.MORE
        while waiting:
            connection = waiting[0]
            try:
                reply = connection.read_response()
            except NoScriptError:
                connection.send_command(*by_text)
                waiting.rotate(-1)
                continue
            failpoints.reach("served", photo)
            waiting.popleft()
            status = max(status, Status(reply[0].decode()), key=_FINALITY.index)
            if status is Status.MORE:
                connection.send_packed_command(packed)
                waiting.append(connection)
            if reply[1]:
                order()
            if reply[2]:
                _, _, refused, key, error = reply
                logger.warning("photo %s left out of %d feeds, %r among them: %r", photo, refused, key, error)
        return status


_FINALITY = [Status.MORE, Status.OVER, Status.ENDED, Status.ABSENT]


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
        ended=float(raw[b"ended"]) if b"ended" in raw else None,
    )


def ended_for(photos: Sequence[int]) -> list[float | None]:
    """For each fan-out how many seconds ago it ended, None if Redis knows of no end, or has something else
    under its key. One round trip.

    Where the server's clock was set back the seconds are counted from now on.
    """
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.time()
        for photo in photos:
            pipeline.hget(keys.fanout(photo), "ended")
        (seconds, microseconds), *ended = pipeline.execute(raise_on_error=False)
    now = seconds + microseconds / 1e6
    ages = [now - float(at) if isinstance(at, bytes) else None for at in ended]
    if ahead := [photo for photo, age in zip(photos, ages, strict=True) if age is not None and age < 0]:
        with edge():
            pipeline = client().pipeline(transaction=False)
            for photo in ahead:
                pipeline.hset(keys.fanout(photo), "ended", f"{now:.6f}")
            pipeline.execute(raise_on_error=False)
    return [None if age is None else max(0.0, age) for age in ages]


def rescue_is_wanted() -> bool:
    """True for one caller a second. One round trip."""
    return turns.begin(keys.rescuing(), 1.0)


def settle_is_wanted() -> bool:
    """True for one caller per `SETTLE_SECONDS`, who has the fan-outs settled that end now. One round trip."""
    return turns.begin(keys.settling(), conf.SETTLE_SECONDS)


def retire(photos: Iterable[int]) -> None:
    """Lets the hashes of fan-outs go, some minutes after the ledger has their figures. One round trip."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        for photo in photos:
            pipeline.expire(keys.fanout(photo), ENDED_SECONDS)
        pipeline.execute()


def note_pulled(photo: int) -> None:
    """Tells readers that from now on there are photos that nobody pushed. One round trip, repeatable."""
    with edge():
        client().set(keys.pulled(), photo)


def cancel(photo: int, author: object = None) -> None:
    """Stops a fan-out: a worker that carries it finds nothing more to do. Two round trips, repeatable.

    With `author` also what a lost or damaged hash has left of it is cleared away.
    """
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.hget(keys.fanout(photo), "author")
        [noted] = pipeline.execute(raise_on_error=False)
        authors = {noted.decode()} if isinstance(noted, bytes) else set()
        if author is not None:
            authors.add(str(author))
        pipeline = client().pipeline(transaction=True)
        for one in authors:
            pipeline.srem(keys.running(one), str(photo))
        pipeline.delete(keys.fanout(photo), keys.built(photo))
        pipeline.execute()


def under_way(author: object) -> list[int]:
    """Photos of the author whose fan-outs keep the follower list from being rewritten. One round trip."""
    with edge():
        found: Any = client().smembers(keys.running(author))
    return [int(photo) for photo in found if photo.isdigit()]
