"""Serving a batch, slice by slice."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import NoScriptError

from ... import failpoints
from ...conf import conf
from ...exceptions import FeedsUnavailable
from .. import scripts
from ..feeds_redis import client, edge
from . import slices
from .claiming import Claim, Verdict
from .order import RETRY_SECONDS, Order
from .slices import Slice, Status

if TYPE_CHECKING:
    from redis import Redis
    from redis.connection import ConnectionInterface

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """How a batch ended. `is_settling_due`: this caller has to enqueue the settling of ended fan-outs."""

    status: Status = Status.MORE
    is_settling_due: bool = False

    def and_then(self, answer: Slice) -> Served:
        """The same after one more slice: the most final answer counts."""
        status = max(self.status, answer.status, key=lambda one: one.finality)
        return Served(status, self.is_settling_due or answer.is_settling_due)


def serve(batch: Claim, enqueue: Callable[[int], bool]) -> Served:
    """Pushes the photo to the followers of `batch`, slice by slice, until the batch is served.

    Calls `enqueue` in a thread of its own, with the first index of the next batch, when a part of this batch
    is done and followers are left behind it; and again if that returned False. When the next task begins it
    takes over what is left of this batch. While Redis does not answer, tries again for a lease, then raises
    `FeedsUnavailable`; what was served by then stays served, once.
    Round trips: one per slice, `SLICES_IN_FLIGHT` of them open at once; none if the first slice was all.
    """
    give_up_at = time.monotonic() + conf.LEASE_SECONDS
    order = Order(enqueue, batch.photo_id, batch.stop)
    served = Served()
    try:
        if batch.first_slice:
            served = _after(batch.first_slice, served, order)
        while served.status is Status.MORE:
            try:
                with edge():
                    served = _serve_in_flight(client(), batch, served, order)
            except FeedsUnavailable as error:
                # A slice that timed out may still be carried out; the next one goes on from there.
                # The order to enqueue may have been lost with its reply; one message too many does no harm.
                if time.monotonic() > give_up_at:
                    raise
                logger.warning("photo %s: trying again: %s", batch.photo_id, error)
                order.is_due = True
                time.sleep(RETRY_SECONDS)  # before the command is repeated
    finally:
        order.join()
    if served.status is Status.OVER:
        order.make_sure(give_up_at)
    return Served(served.status, order.is_settling_due)


def _after(answer: Slice, served: Served, order: Order) -> Served:
    failpoints.reach("served", order.photo_id)
    order.is_settling_due |= answer.is_settling_due  # also if the next answer is an error
    if answer.is_link_due:
        order()
    return served.and_then(answer)


def _serve_in_flight(redis: Redis, batch: Claim, served: Served, order: Order) -> Served:
    names, arguments = slices.call_for(batch.photo_id, batch.author_id, batch.start, batch.stop)
    by_hash, by_text = scripts.slice_.commands(redis, names, arguments)
    pool = redis.connection_pool
    with ExitStack() as stack:
        resting: list[ConnectionInterface] = []
        for _ in range(max(1, min(conf.SLICES_IN_FLIGHT, -(-batch.left // conf.SLICE_SIZE)))):
            resting.append(pool.get_connection())
            stack.callback(pool.release, resting[-1])  # type: ignore[arg-type]  # an interface of it
        packed = resting[0].pack_command(*by_hash)
        waiting: deque[ConnectionInterface] = deque()
        # Connections with an open reply are closed when an error comes up: nobody may read another's reply.
        stack.callback(lambda: [connection.disconnect() for connection in waiting])

        def call() -> None:
            waiting.append(resting.pop())
            waiting[-1].send_packed_command(packed)

        call()
        # The link before this one has calls of its own under way. Together they would make other clients
        # wait for twice as many slices, so the second call of this link follows the first answer.
        while resting and batch.verdict is not Verdict.NEXT:
            call()
        while waiting:
            connection = waiting[0]
            try:
                reply = connection.read_response()
            except NoScriptError:
                connection.send_command(*by_text)
                waiting.rotate(-1)
                continue
            waiting.popleft()
            answer = slices.read(batch.photo_id, reply)
            resting.append(connection)
            while resting and served.and_then(answer).status is Status.MORE:
                call()
            served = _after(answer, served, order)
        return served
