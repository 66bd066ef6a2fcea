"""Sending messages to Celery's broker without ever holding up who sends."""

from __future__ import annotations

import logging
from contextvars import copy_context
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

from .breaker import Breaker
from .conf import conf

if TYPE_CHECKING:
    from celery import Task

logger = logging.getLogger(__name__)

_breaker = Breaker(seconds=2.0)
MOST_HANGING = 8  # threads that a broker may keep waiting at the same time, each holds a connection
_hanging: list[Thread] = []


def send(task: Task[Any, Any], *arguments: Any, **options: Any) -> bool:
    """Sends the message of a task; False, and a line in the log, if the broker did not take it within
    `PUBLISH_TIMEOUT`. It may still arrive then. Never raises: what matters is sent again by the rescue.

    In a thread, because no time-out of Celery's covers everything: names that do not resolve, a TCP
    connection that swallows what it gets, RabbitMQ blocking who publishes. So the promise holds
    whatever the site has set for its broker.
    """
    if not _breaker.allows():
        return _not_sent(task, arguments, "it did not answer a moment ago")
    _hanging[:] = [thread for thread in _hanging if thread.is_alive()]
    if len(_hanging) >= MOST_HANGING:
        _breaker.trip()
        return _not_sent(task, arguments, f"{MOST_HANGING} messages wait for it already")
    errors: list[Exception | None] = []
    publish = partial(_publish, task, arguments, options, errors)
    thread = Thread(target=copy_context().run, args=(publish,), name="publish", daemon=True)
    thread.start()
    thread.join(conf.PUBLISH_TIMEOUT)
    if not errors:
        _breaker.trip()
        _hanging.append(thread)
        return _not_sent(task, arguments, f"no answer within {conf.PUBLISH_TIMEOUT:g} s")
    if errors[0] is not None:
        return _not_sent(task, arguments, f"{type(errors[0]).__name__}: {errors[0]}")
    _breaker.reset()
    return True


def _publish(
    task: Task[Any, Any], arguments: tuple[Any, ...], options: dict[str, Any], errors: list[Exception | None]
) -> None:
    try:
        task.apply_async(arguments, retry=False, **options)
        errors.append(None)
    except Exception as error:  # each transport raises its own
        errors.append(error)


def _not_sent(task: Task[Any, Any], arguments: tuple[Any, ...], why: str) -> bool:
    logger.warning("the broker did not take %s%r (%s): the rescue sends it again", task.name, arguments, why)
    return False
