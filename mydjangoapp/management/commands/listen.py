"""`manage.py listen TOPIC CHANNEL --to FILE [--max N] [--from-beginning]`"""

import contextlib
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mydjangoapp.conf import conf
from mydjangoapp.events import listening
from mydjangoapp.exceptions import FeedError

from ._events import add_topic_and_channel, carrier, said, stopped_by_signals


class Command(BaseCommand):
    help = (
        "Appends a channel's messages to a file, one JSON object per line, each acknowledged when it is on "
        "disk. May be killed at any moment."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_topic_and_channel(parser)
        parser.add_argument("--to", required=True, type=Path, metavar="FILE")
        parser.add_argument("--max", type=int, metavar="N", dest="most", help="end after so many")
        parser.add_argument("--from-beginning", action="store_true", help="with the messages that are kept")

    def handle(
        self,
        *args: Any,
        topic: str,
        channel: str,
        to: Path,
        most: int | None,
        from_beginning: bool,
        **options: Any,
    ) -> None:
        if most is not None and most < 1:
            raise CommandError("--max: must be 1 or more.")
        transport = carrier(topic, channel)
        try:
            with listening.LinesFile(to) as file, stopped_by_signals() as stopping:
                with said():
                    transport.subscribe(topic, channel, from_beginning=from_beginning)
                    consumer = transport.consumer(topic, channel, timeout=conf.EVENTS_TIMEOUT)
                try:
                    listening.listen(consumer, topic, file, most=most, stopping=stopping.is_set)
                finally:
                    _leave(consumer)
        except BlockingIOError as error:
            raise CommandError(f"--to: another process writes to {to}.") from error
        except OSError as error:
            raise CommandError(f"--to: {to} cannot be written: {error}.") from error


def _leave(consumer: Any) -> None:
    with contextlib.suppress(FeedError):  # it is away; nothing is in hand that is not on disk
        consumer.close()
