"""Serving a batch, slice by slice."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from threading import Thread
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

from ... import failpoints
from ...conf import conf
from ...exceptions import FeedsUnavailable
from .. import keys, scripts
from ..feeds_redis import client, edge
from .claiming import Claim
from .limits import trim_slack

if TYPE_CHECKING:
    from redis import Redis
    from redis.connection import ConnectionInterface

logger = logging.getLogger(__name__)

# The next link is enqueued when so much of the batch is done, so that a second process has it in hand
# before this one ends. Without that Redis would wait for the broker at each seam.
ENQUEUE_AT = 0.5
RETRY_SECONDS = 0.2


class Status(StrEnum):
    """What `lua/slice.lua` says after a slice, from the least final to the most."""

    MORE = "more"
    OVER = "over"
    ENDED = "ended"
    ABSENT = "absent"

    @property
    def finality(self) -> int:
        return list(Status).index(self)


@dataclass(frozen=True)
class Served:
    """How a batch ended. `is_settling_due`: this caller is to have ended fan-outs settled."""

    status: Status
    is_settling_due: bool = False


def serve(batch: Claim, enqueue: Callable[[int], bool]) -> Served:
    """Pushes the photo to the followers of `batch`, slice by slice, until the batch is served.

    Calls `enqueue` in a thread of its own, with the first index of the next batch, when a part of this batch
    is done and followers are left behind it; and again if that returned False. When the next task begins it
    takes over what is left of this batch. While Redis does not answer, tries again for a lease, then raises
    `FeedsUnavailable`; what was served by then stays served, once.
    Round trips: one per slice, `SLICES_IN_FLIGHT` of them open at once.
    """
    photo_id, author_id = batch.photo_id, batch.author_id
    names = [keys.fanout(photo_id), keys.followers(author_id), keys.marks(author_id)]
    names += [keys.state(author_id), keys.running(author_id), keys.built(photo_id)]
    names += [keys.ended(), keys.settling()]
    enqueue_at = batch.start + int((batch.stop - batch.start) * ENQUEUE_AT)
    arguments: list[Any] = [photo_id, str(author_id), *keys.homefeed_words(), conf.SLICE_SIZE]
    arguments += [batch.start, batch.stop, enqueue_at, conf.MAX_LENGTH, trim_slack()]
    arguments += [int(conf.INACTIVE_AFTER is not None), int(conf.SETTLE_SECONDS * 1000)]
    in_flight = max(1, min(conf.SLICES_IN_FLIGHT, -(-batch.left // conf.SLICE_SIZE)))
    give_up_at = time.monotonic() + conf.LEASE_SECONDS
    order = _Order(enqueue, photo_id, batch.stop)
    try:
        while True:
            try:
                with edge():
                    served = _serve_in_flight(client(), names, arguments, in_flight, photo_id, order)
                break
            except FeedsUnavailable as error:
                # A slice that timed out may still be carried out; the next one goes on from there.
                # The order to enqueue may have been lost with its reply; one message too many does no harm.
                if time.monotonic() > give_up_at:
                    raise
                logger.warning("photo %s: trying again: %s", photo_id, error)
                order.is_due = True
                time.sleep(RETRY_SECONDS)  # before the command is repeated
    finally:
        order.join()
    if served.status is Status.OVER:
        order.make_sure(give_up_at)
    return served


class _Order:
    """Enqueues the next link in a thread: the broker may take its time, and Redis must not wait for the
    next slice meanwhile."""

    def __init__(self, enqueue: Callable[[int], bool], photo_id: int, link: int) -> None:
        self._photo_id = photo_id
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
            failpoints.reach("enqueued", self._photo_id)

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
    redis: Redis, names: list[str], arguments: list[Any], in_flight: int, photo_id: int, order: _Order
) -> Served:
    by_hash, by_text = scripts.slice_.commands(redis, names, arguments)
    pool = redis.connection_pool
    with ExitStack() as stack:
        waiting: deque[ConnectionInterface] = deque()
        for _ in range(in_flight):
            waiting.append(pool.get_connection())
            stack.callback(pool.release, waiting[-1])  # type: ignore[arg-type]  # an interface of it
        packed = waiting[0].pack_command(*by_hash)
        # Connections with an open reply are closed when an error comes up: nobody may read another's reply.
        stack.callback(lambda: [connection.disconnect() for connection in waiting])
        for connection in waiting:
            connection.send_packed_command(packed)
        served = Served(Status.MORE)
        while waiting:
            connection = waiting[0]
            try:
                reply = connection.read_response()
            except NoScriptError:
                connection.send_command(*by_text)
                waiting.rotate(-1)
                continue
            failpoints.reach("served", photo_id)
            waiting.popleft()
            status = max(served.status, Status(reply[0].decode()), key=lambda one: one.finality)
            served = Served(status, served.is_settling_due or bool(reply[5]))
            if served.status is Status.MORE:
                connection.send_packed_command(packed)
                waiting.append(connection)
            if reply[1]:
                order()
            if reply[2]:
                _, _, refused, key, error, _ = reply
                logger.warning(
                    "photo %s left out of %d feeds, %r among them: %r", photo_id, refused, key, error
                )
        return served
