"""`manage.py subscribe TOPIC CHANNEL [--from-beginning]`"""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ._events import add_topic_and_channel, carrier, said


class Command(BaseCommand):
    help = "Makes a channel, so that its messages wait for the worker that will take them."

    def add_arguments(self, parser: CommandParser) -> None:
        add_topic_and_channel(parser)
        parser.add_argument("--from-beginning", action="store_true", help="with the messages that are kept")

    def handle(self, *args: Any, topic: str, channel: str, from_beginning: bool, **options: Any) -> None:
        with said():
            made = carrier(topic, channel).subscribe(topic, channel, from_beginning=from_beginning)
        self.stdout.write(f"{channel} {'is subscribed' if made else 'was subscribed already'} to {topic}")
