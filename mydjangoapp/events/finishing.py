"""Acknowledging messages that have been handled."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue

from .message import Delivery
from .transport import Consumer

logger = logging.getLogger(__name__)

AWAY_PAUSE = 1.0  # seconds between two attempts to reach what carries the events
FINISH_AT_ONCE = 500


class Finisher:
    """Finishes messages in a thread of its own: what has come while a call was under way goes with the next,
    so a slow stream is acknowledged at once and a fast one in batches."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._waiting: SimpleQueue[Delivery | None] = SimpleQueue()
        self.behind = 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="finish", daemon=True)
        self._thread.start()

    def finish(self, delivery: Delivery) -> None:
        with self._counting:
            self.behind += 1
        self._waiting.put(delivery)

    def close(self, seconds: float) -> bool:
        """Finishes what waits; False if that took longer."""
        self._waiting.put(None)
        self._thread.join(max(0.0, seconds))
        return not self.behind

    def _run(self) -> None:
        ended = False
        while not ended:
            some = [self._waiting.get()]
            while len(some) < FINISH_AT_ONCE:
                try:
                    some.append(self._waiting.get_nowait())
                except Empty:
                    break
            ended = None in some
            if finished := [one for one in some if one is not None]:
                self._surely(finished)
                with self._counting:
                    self.behind -= len(finished)

    def _surely(self, deliveries: Sequence[Delivery]) -> None:
        while True:
            try:
                self._consumer.finish(deliveries)
                return
            except Exception as error:  # a thread that ended would acknowledge nothing, and nobody would know
                logger.error("%d handled messages are not acknowledged yet: %r", len(deliveries), error)
                time.sleep(AWAY_PAUSE)  # between two attempts; until then they are in hand
