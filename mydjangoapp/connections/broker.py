"""Sends messages to Celery's broker without blocking the caller."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextvars import copy_context
from threading import Thread
from typing import TYPE_CHECKING, Any

from celery import current_app
from celery.signals import before_task_publish

from ..conf import conf
from . import in_place, patience
from .breaker import Breaker

if TYPE_CHECKING:
    from celery import Celery, Task

logger = logging.getLogger(__name__)

MOST_HANGING = 8  # threads that a broker may keep waiting at the same time, each holds a connection
MOST_ALIVE = 64  # such threads, with those that are taken for lost
GIVEN_UP_AFTER = 60.0  # seconds; then a hanging thread is taken for lost, and no longer counted

SENT_AT = "feeds_sent_at"
"""Header of each message: seconds since 1970. Tells the rescue how far the queue has come."""

_breaker = Breaker(seconds=2.0)
_hanging: list[tuple[Thread, float]] = []


@before_task_publish.connect(dispatch_uid="mydjangoapp.note_when_it_was_sent")
def note_when_it_was_sent(sender: str, headers: dict[str, Any], **_: Any) -> None:
    """Also for messages that others send: `insert_into_homefeed.delay(...)`, beat, a retry."""
    if sender.startswith("mydjangoapp.tasks."):
        headers[SENT_AT] = time.time()


def send(task: Task[Any, Any], *arguments: Any, **options: Any) -> bool:
    """Sends the message of a task; False, and a line in the log, if the broker did not take it within
    `PUBLISH_TIMEOUT`. It may still arrive then. Never raises: what matters is sent again by the rescue.

    In a thread, because no time-out of Celery's covers everything: names that do not resolve, a TCP
    connection that swallows what it gets, RabbitMQ blocking who publishes. So the promise holds
    whatever the site has set for its broker.
    """
    if in_place.instead is not None:
        in_place.instead(task, arguments, options.get("countdown", 0))
        return True
    if task.app.conf.task_always_eager:
        in_place.run(task, arguments)  # a host site's own tests: here and now, as they asked for
        return True
    why = _in_time(lambda: task.apply_async(arguments, retry=False, **_for_quorum(task.app, options)))
    if why:
        logger.warning(
            "the broker did not take %s%r (%s): the rescue sends it again", task.name, arguments, why
        )
    return not why


def _for_quorum(app: Celery, options: dict[str, Any]) -> dict[str, Any]:
    """A countdown in whole seconds, where the broker counts it down: Celery would cut half a second down to
    none, and refuse it."""
    if "countdown" not in options or app.conf.task_default_queue_type != "quorum":
        return options
    return {**options, "countdown": math.ceil(options["countdown"])}


def send_by_name(name: str, *arguments: Any) -> bool:
    """The same for a task of the app's own that the caller must not import."""
    return send(current_app.tasks[f"mydjangoapp.tasks.{name}"], *arguments)


def plain(user: Any) -> Any:
    """A user id as JSON can hold it."""
    return user if isinstance(user, int) else str(user)


def problem() -> str:
    """Why the broker cannot be reached, in a few words; empty if it can."""

    def connect() -> None:
        with current_app.connection_for_write(connect_timeout=conf.PUBLISH_TIMEOUT) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=1)

    return _in_time(connect).partition(":")[0]  # what a transport says may name more than a stranger may know


def _in_time(act: Callable[[], object]) -> str:
    """Does it in a thread; returns what is wrong, if it was not done within `PUBLISH_TIMEOUT`."""
    if not _breaker.allows():
        return "it did not answer a moment ago"
    if patience.is_over():
        return "other servers have used up the time that a commit may take"
    now = time.monotonic()
    _hanging[:] = [(one, at) for one, at in _hanging if one.is_alive()]
    waiting = sum(now - at < GIVEN_UP_AFTER for _, at in _hanging)
    if waiting >= MOST_HANGING or len(_hanging) >= MOST_ALIVE:
        _breaker.trip()
        return f"{MOST_HANGING} calls wait for it already"
    ended: list[Exception | None] = []
    thread = Thread(target=copy_context().run, args=(_act, act, ended), name="publish", daemon=True)
    thread.start()
    with patience.waiting():
        thread.join(patience.seconds(conf.PUBLISH_TIMEOUT))
    if not ended:
        _breaker.trip()
        _hanging.append((thread, now))
        return f"no answer within {conf.PUBLISH_TIMEOUT:g} s"
    _breaker.reset()
    return f"{type(ended[0]).__name__}: {ended[0]}" if ended[0] else ""


def _act(act: Callable[[], object], ended: list[Exception | None]) -> None:
    try:
        act()
        ended.append(None)
    except Exception as error:  # each transport raises its own
        ended.append(error)
