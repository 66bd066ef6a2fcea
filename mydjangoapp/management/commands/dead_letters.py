"""`manage.py dead_letters TOPIC CHANNEL [--replay | --purge] [--json]`"""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ._events import add_topic_and_channel, carrier, said


class Command(BaseCommand):
    help = "Shows the messages that a channel could not handle, brings them back, or throws them away."

    def add_arguments(self, parser: CommandParser) -> None:
        add_topic_and_channel(parser)
        either = parser.add_mutually_exclusive_group()
        either.add_argument("--replay", action="store_true", help="deliver them again, attempts from 1")
        either.add_argument("--purge", action="store_true", help="throw them away")
        parser.add_argument(
            "--json", action="store_true", dest="as_json", help="as a JSON list, or how many they were"
        )

    def handle(
        self,
        *args: Any,
        topic: str,
        channel: str,
        replay: bool,
        purge: bool,
        as_json: bool,
        **options: Any,
    ) -> None:
        transport = carrier(topic, channel)
        with said():
            if replay:
                self._end("replayed", transport.replay(topic, channel), "come again", as_json)
            elif purge:
                self._end("purged", transport.purge(topic, channel), "thrown away", as_json)
            elif as_json:
                found = [asdict(one) for one in transport.dead_letters(topic, channel)]
                self.stdout.write(json.dumps(found, indent=1))
            else:
                self._show(transport.dead_letters(topic, channel))

    def _end(self, word: str, number: int, said: str, as_json: bool) -> None:
        self.stdout.write(json.dumps({word: number}) if as_json else f"{number:,} dead letters {said}")

    def _show(self, letters: Any) -> None:
        shown = 0
        for one in letters:
            body = json.dumps(one.body, ensure_ascii=False)
            self.stdout.write(f"{one.id or '-'} {one.action or '-'} {body[:200]}")
            self.stdout.write(f"    after {one.attempts} attempts: {one.reason}")
            shown += 1
        self.stdout.write(f"{shown:,} dead letters")
