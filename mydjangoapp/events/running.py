"""Running a worker: take, handle, finish, until told to stop."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from django.db import close_old_connections

from ..conf import conf
from ..exceptions import FeedError
from .finishing import AWAY_PAUSE, Finisher
from .message import Delivery, Message, Requeued
from .transport import Consumer
from .worker import Worker

logger = logging.getLogger(__name__)

TAKE_WAIT = 1.0  # seconds; a stop is noticed within
TAKE_FOR = 0.5  # seconds of work that are taken at once, so that other workers have a share
BEHIND_PAUSE = 0.01  # seconds
FIRST_TAKE = 8
RECENT = 4_096  # ids


class Runner:
    """Runs one worker on one channel, in the calling thread."""

    def __init__(
        self,
        worker: Worker,
        consumer: Consumer,
        *,
        max_in_flight: int = 256,
        timeout: float | None = None,
        leave: Callable[[int], None] = os._exit,
    ) -> None:
        self._worker, self._consumer = worker, consumer
        self._most = max_in_flight
        self._timeout = timeout or conf.EVENTS_TIMEOUT
        self._max_attempts = worker.max_attempts or conf.EVENTS_MAX_ATTEMPTS
        self._in_hand: deque[Delivery] = deque()
        self._take = min(FIRST_TAKE, max_in_flight)
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._stop_by = 0.0
        self._leave = leave
        self._recent: dict[str, None] = {}
        self._finisher = Finisher(consumer)

    def stop(self) -> None:
        """Takes nothing more, finishes what is in hand within `EVENTS_DRAIN`, and gives back the rest.

        May be called from a signal handler or another thread. A handler that takes longer than that is
        cut off with the process, and its message comes again.
        """
        if not self._stop_by:
            self._stop_by = time.monotonic() + conf.EVENTS_DRAIN
            # The event is set in the thread: a signal may have come while its lock is held in this one.
            threading.Thread(target=self._cut_off, name="drain", daemon=True).start()

    def _cut_off(self) -> None:
        self._stopping.set()
        self._ended.wait(max(0.0, self._stop_by - time.monotonic()))
        if not self._ended.wait(0.5):
            logger.error("not ended within %g s: what is in hand is given back", conf.EVENTS_DRAIN)
            self._give_back()
            self._finisher.close(1.0)
            self._close_consumer()  # gives back what has arrived and was not taken
            self._leave(1)

    def run(self, *, until_idle: float | None = None) -> int:
        """Handles messages until `stop`; returns how many it has taken. With `until_idle` also until none has
        come for so many seconds."""
        taken = 0
        idle_since = time.monotonic()
        self._worker.start()
        try:
            while not self._stopping.is_set():
                if self._finisher.behind >= self._most:
                    self._stopping.wait(BEHIND_PAUSE)  # what is handled has to be acknowledged first
                    continue
                some = self._taken()
                taken += len(some)
                if some:
                    self._handle(some)
                    idle_since = time.monotonic()
                elif until_idle is not None and time.monotonic() - idle_since >= until_idle:
                    break
        finally:
            self._give_back()
            left = self._stop_by - time.monotonic() if self._stopping.is_set() else conf.EVENTS_DRAIN
            if not self._finisher.close(max(left, 1.0)):
                logger.error("handled messages were not acknowledged: they come again")
            self._ended.set()
            self._close_consumer()
            self._worker.stop()
        return taken

    def _close_consumer(self) -> None:
        try:
            self._consumer.close()
        except FeedError as error:
            logger.info("the channel was not told that this worker leaves: %s", error)

    def _taken(self) -> Sequence[Delivery]:
        try:
            return self._consumer.take(self._take, TAKE_WAIT)
        except FeedError as error:
            logger.error("nothing can be taken: %s", error)
            self._stopping.wait(AWAY_PAUSE)
            return ()

    def _handle(self, some: Sequence[Delivery]) -> None:
        close_old_connections()
        self._in_hand.extend(some)
        began = time.monotonic()
        known = self._remembered(some)
        while self._in_hand:
            if self._stopping.is_set() and time.monotonic() >= self._stop_by:
                return
            if self._in_hand[0].is_suspect and not self._all_is_acknowledged():
                return
            self._one(self._in_hand[0], known)
            if self._in_hand:
                self._in_hand.popleft()
        each = (time.monotonic() - began) / len(some)
        self._take = max(1, min(self._most, 2 * len(some), int(TAKE_FOR / max(each, 1e-6))))
        close_old_connections()

    def _all_is_acknowledged(self) -> bool:
        """Waits for all acknowledgements: if the next message ends the process, handled ones must not come
        again. False if the worker is told to stop first."""
        while self._finisher.behind:
            if self._stopping.wait(BEHIND_PAUSE):
                return False
        return True

    def _remembered(self, some: Sequence[Delivery]) -> set[str]:
        try:
            return self._consumer.remembered([one.id for one in some])
        except FeedError as error:
            logger.warning("it is not known which of %d messages were handled before: %s", len(some), error)
            return set()

    def _one(self, delivery: Delivery, known: set[str]) -> None:
        try:
            self._settle(delivery, known)
        except FeedError as error:
            logger.error("message %s comes again: %s", delivery.id, error)
        except Exception:
            # Unexpected: the message waits for its time-out, which counts as an attempt.
            logger.exception("message %s comes again", delivery.id)
        except BaseException:
            # This message ends the process: it must not come again at once and end the next process, too.
            self._in_hand.remove(delivery)
            raise

    def _settle(self, delivery: Delivery, known: set[str]) -> None:
        # One that has waited here for long may be another's by now.
        if time.monotonic() - delivery.taken_at > self._timeout / 2 and not self._consumer.touch(delivery):
            return
        if delivery.id in known or delivery.id in self._recent:
            self._finisher.finish(delivery)
            return
        try:
            body = delivery.opened()
        except ValueError as error:
            self._bury(delivery, str(error))
            return
        if not self._worker.takes(delivery.action):
            self._finisher.finish(delivery)
            return
        if delivery.attempts > self._max_attempts:
            times = delivery.attempts - 1
            self._bury(delivery, f"taken {times} times and not finished: its worker died or took too long")
            return
        message = Message(
            id=delivery.id,
            topic=self._worker.topic,
            action=delivery.action,
            body=body,
            attempts=delivery.attempts,
            published_at=delivery.published_at,
            _touch=lambda: self._consumer.touch(delivery),
        )
        try:
            self._worker.handle(message)
        except Exception as error:
            known.discard(delivery.id)
            logger.exception(
                "%s of message %s failed (attempt %d)", message.action, message.id, message.attempts
            )
            close_old_connections()  # one that has broken would fail the rest of the batch
            if message._outcome is None:
                self._again(delivery, Requeued(None, True), f"{type(error).__name__}: {error}")
                return
        match message._outcome:
            case None:
                self._note(delivery.id)
                self._finisher.finish(delivery)
            case Requeued() as wish:
                self._again(delivery, wish, "its handler asked for it again")
            case reason:
                self._bury(delivery, reason)

    def _note(self, id_: str) -> None:
        """Notes the id: a message published twice may come again before the finisher has remembered it."""
        self._recent[id_] = None
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]

    def _again(self, delivery: Delivery, wish: Requeued, why: str) -> None:
        if wish.count_attempt and delivery.attempts >= self._max_attempts:
            self._bury(delivery, f"gave up after {delivery.attempts} attempts: {why}")
            return
        pause = wish.delay if wish.delay is not None else back_off(delivery.attempts)
        self._consumer.requeue(delivery, pause, count_attempt=wish.count_attempt)

    def _bury(self, delivery: Delivery, reason: str) -> None:
        told = reason[:1000].encode(errors="backslashreplace").decode()
        if self._consumer.bury(delivery, told):
            logger.error("message %s goes to the dead letters: %s", delivery.id or "without id", reason)

    def _give_back(self) -> None:
        while self._in_hand:
            delivery = self._in_hand.popleft()
            try:
                self._consumer.requeue(delivery, 0, count_attempt=False)
            except FeedError as error:
                logger.warning("message %s comes again after its time-out: %s", delivery.id, error)


def back_off(attempts: int) -> float:
    """Seconds before a message that failed so many times comes again: 1, 2, 4, … `EVENTS_BACKOFF_MAX`."""
    return float(min(2.0 ** min(attempts - 1, 30), conf.EVENTS_BACKOFF_MAX))
