"""`manage.py unsubscribe TOPIC CHANNEL`"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ._events import add_topic_and_channel, carrier, said


class Command(BaseCommand):
    help = (
        "Ends a channel with all that waits in it, dead letters too. Stop its workers first: one that runs "
        "subscribes again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_topic_and_channel(parser)

    def handle(self, *args: Any, topic: str, channel: str, **options: Any) -> None:
        with said():
            gone = carrier(topic, channel).unsubscribe(topic, channel)
        if not gone:
            raise CommandError(f"Topic {topic} has no channel {channel}: see `manage.py topics`.")
        self.stdout.write(f"{channel} is no longer subscribed to {topic}")
