"""What the commands of events share."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from django.core.management.base import CommandError, CommandParser

from mydjangoapp.events.message import check_name
from mydjangoapp.events.registry import for_topic
from mydjangoapp.events.transport import Transport
from mydjangoapp.exceptions import FeedError


def add_topic_and_channel(parser: CommandParser) -> None:
    """The two positional arguments."""
    parser.add_argument("topic", help="what the messages are about, for example photos")
    parser.add_argument("channel", help="the group of subscribers that gets them, for example search")


@contextmanager
def said() -> Iterator[None]:
    """Shows an error of the app as one of the command."""
    try:
        yield
    except FeedError as error:
        raise CommandError(str(error)) from error


def carrier(topic: str, channel: str = "x") -> Transport:
    """What carries the topic. Raises `CommandError` if it is switched off, or a name is invalid."""
    with said():
        check_name("topic", topic)
        check_name("channel", channel)
        found = for_topic(topic)
    if found is None:
        raise CommandError(f"Events of topic {topic} are switched off (EVENTS_URL, EVENTS_TOPICS).")
    return found


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; outside the main thread nothing sets it."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {one: signal.signal(one, stop) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
