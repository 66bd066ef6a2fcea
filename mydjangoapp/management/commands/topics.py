"""`manage.py topics [--json]`"""

import json
from dataclasses import asdict
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.table import Table

from mydjangoapp.events.registry import all_there_are

from ._events import said

COLUMNS = ("depth", "in_flight", "deferred", "dead", "lag", "oldest_age")


class Command(BaseCommand):
    help = "Shows every channel: what waits, what is in hand, what comes again, what is dead, how far behind."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="as a JSON list")

    def handle(self, *args: Any, json: bool, **options: Any) -> None:
        with said():
            found = [asdict(one) for transport in all_there_are() for one in transport.channels()]
        if json:
            self.stdout.write(_json(found))
        elif not found:
            self.stdout.write("No channel is subscribed.")
        else:
            table = Table("topic", "channel", *COLUMNS)
            for one in found:
                table.add_row(one["topic"], one["channel"], *(_shown(one[name]) for name in COLUMNS))
            Console(file=cast(IO[str], self.stdout)).print(table)


def _json(found: list[dict[str, Any]]) -> str:
    return json.dumps(found, indent=1)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f} s" if isinstance(value, float) else f"{value:,}"
