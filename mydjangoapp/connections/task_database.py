"""Keeps database connections from one task to the next, as Django keeps them from one request to the next.

Celery closes every connection before and after each task. A small fan-out reads one row, so connecting would
cost it more than its work. Here Django's own rules hold instead: `CONN_MAX_AGE`, and a connection that had an
error is closed.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from celery import Celery
from celery.signals import task_postrun, task_prerun
from django.db import close_old_connections, connections
from kombu.utils.compat import detect_environment

NEVER = 10**9  # tasks
IDLE_SECONDS = 1.0  # a connection that rested for less is taken for good: asking costs a round trip

_of_this_thread = threading.local()


def keep(app: Celery) -> None:
    """Lets this Celery app's tasks keep their connections, in this process and those it starts. To be called
    where the site makes its Celery app.

    Does nothing under gevent and eventlet: there each task has connections of its own, which would stay open.
    """
    if detect_environment() != "default":
        return
    app.add_defaults(lambda: {"CELERY_DB_REUSE_MAX": NEVER})
    task_prerun.connect(_before_task, dispatch_uid="mydjangoapp.before_task")
    task_postrun.connect(_after_task, dispatch_uid="mydjangoapp.after_task")


def _before_task(sender: Any, **_: Any) -> None:
    if not sender.request.is_eager and _rested() > IDLE_SECONDS:
        close_old_connections()


def _rested() -> float:
    return time.monotonic() - getattr(_of_this_thread, "last_task_ended_at", 0.0)


def _after_task(sender: Any, **_: Any) -> None:
    if sender.request.is_eager:  # the caller's connection, perhaps in the caller's transaction
        return
    now = _of_this_thread.last_task_ended_at = time.monotonic()
    for connection in connections.all(initialized_only=True):
        # Only then: asking makes the next query check the connection first, by a query of its own.
        if connection.errors_occurred or (connection.close_at is not None and now >= connection.close_at):
            connection.close_if_unusable_or_obsolete()
