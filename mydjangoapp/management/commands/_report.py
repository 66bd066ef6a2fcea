"""What a long command shows: a bar on a terminal while it works, and a report at its end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any, TypeVar, cast

from django.core.management.base import BaseCommand, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from rich.console import Console
from rich.progress import Progress, track

Item = TypeVar("Item")


class ReportingCommand(BaseCommand):
    """Ends with sentences, or with `--json` with one JSON object of the same figures, also where it fails.

    Bars go to the standard error, and only if that is a terminal.
    """

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json", action="store_true", dest="as_json", help="the report as a JSON object, for a machine"
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        self._figures: dict[str, Any] = {}
        self._as_json = bool(options.get("as_json"))
        try:
            return super().execute(*args, **options)
        finally:
            if self._as_json and self._figures:
                self.stdout.write(json.dumps(self._figures, cls=DjangoJSONEncoder))

    def report(self, text: str = "", **figures: Any) -> None:
        """A line of the report, and the figures that it tells."""
        self._figures |= figures
        if text and not self._as_json:
            self.stdout.write(text)

    def with_bar(self, items: Iterable[Item], number: int, what: str) -> Iterator[Item]:
        """The same items; a bar shows how many of so many are done."""
        console = self._console()
        yield from track(
            items, description=what, total=number, console=console, disable=not console.is_terminal
        )

    def bars(self) -> Progress:
        """Bars to fill by hand."""
        console = self._console()
        return Progress(console=console, disable=not console.is_terminal)

    def _console(self) -> Console:
        return Console(file=cast(IO[str], self.stderr), soft_wrap=True)
