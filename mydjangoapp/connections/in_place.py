"""Runs tasks in the caller's process instead of sending messages; for tests of a site."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

from . import patience

if TYPE_CHECKING:
    from celery import Task

Send: TypeAlias = "Callable[[Task[Any, Any], tuple[Any, ...], float], None]"
"""Gets a task, its arguments, and after how many seconds it is to run."""

instead: Send | None = None
"""Gets what would be sent, while a test has set it."""

_waiting: ContextVar[deque[tuple[Any, tuple[Any, ...], float]] | None] = ContextVar("waiting", default=None)


def run(task: Task[Any, Any], arguments: tuple[Any, ...], countdown: float = 0) -> None:
    """Runs a task and what it enqueues, one after the other, before it returns. Any number of links of a
    chain takes no more stack than one, and all of them see the caller's transaction."""
    if (
        others := _waiting.get()
    ) is not None:  # sent by a task that runs here, perhaps in a thread of its own
        others.append((task, arguments, countdown))
        return
    queue = deque([(task, arguments, countdown)])
    token = _waiting.set(queue)
    try:
        with patience.bounded_by(None):  # its work is not a step of the commit
            while queue:
                next_task, its_arguments, pause = queue.popleft()
                time.sleep(pause)
                next_task.apply(its_arguments)
    finally:
        _waiting.reset(token)
