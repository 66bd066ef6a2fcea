"""`manage.py publish TOPIC ACTION JSON`"""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mydjangoapp.events import publish

from ._events import carrier, said


class Command(BaseCommand):
    help = "Publishes one message."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("topic")
        parser.add_argument("action")
        parser.add_argument("body", metavar="JSON", help="a JSON object")
        parser.add_argument("--delay", type=float, default=0, help="seconds before it is delivered")

    def handle(self, *args: Any, topic: str, action: str, body: str, delay: float, **options: Any) -> None:
        carrier(topic)
        try:
            found = json.loads(body)
        except ValueError as error:
            raise CommandError(f"JSON: {error}") from error
        with said():
            self.stdout.write(publish(topic, action, found, delay=delay))
