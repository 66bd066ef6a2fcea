"""The order to enqueue a chain's next link."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import copy_context
from threading import Thread

from ... import failpoints

RETRY_SECONDS = 0.2


class Order:
    """Enqueues the next link in a thread: the broker may take its time, and Redis must not wait for the
    next slice meanwhile."""

    def __init__(self, enqueue: Callable[[int], bool], photo_id: int, link: int) -> None:
        """`link`: the first index of what is to be enqueued."""
        self.photo_id = photo_id
        self._enqueue = enqueue
        self.link = link
        self._thread: Thread | None = None
        self.is_due = False
        self.is_settling_due = False

    def __call__(self) -> None:
        """Begins to enqueue."""
        self.join()
        self.is_due = True
        self._thread = Thread(target=copy_context().run, args=(self._send,), name="enqueue")
        self._thread.start()

    def _send(self) -> None:
        self.is_due = not self._enqueue(self.link)
        if not self.is_due:
            failpoints.reach("enqueued", self.photo_id)

    def join(self) -> None:
        """Waits until the thread has ended."""
        if self._thread is not None:
            self._thread.join()

    def make_sure(self, give_up_at: float) -> None:
        """Tries again what has failed, until it is time to leave it to the rescue."""
        while self.is_due and time.monotonic() < give_up_at:
            self._send()
            if self.is_due:
                time.sleep(RETRY_SECONDS)  # before the message is sent again
