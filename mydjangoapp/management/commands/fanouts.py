"""`manage.py fanouts [--watch]`"""

import time
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mydjangoapp import fanouts
from mydjangoapp.fanouts import Standing
from mydjangoapp.models import FanOut


class Command(BaseCommand):
    help = "Shows the fan-outs that are under way: followers reached, rate, time left."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--watch", action="store_true", help="keep showing them, until Ctrl-C")
        parser.add_argument("--interval", type=float, default=0.2, help="seconds between two looks (0.2)")

    def handle(self, *args: Any, watch: bool, interval: float, **options: Any) -> None:
        console = Console(file=cast(IO[str], self.stdout))
        if not watch:
            self._once(console)
            return
        try:
            with bars(console) as shown:
                board = Board(shown)
                while True:
                    board.show(list(fanouts.open_ones()))
                    time.sleep(interval)
        except KeyboardInterrupt:
            return

    def _once(self, console: Console) -> None:
        standings = list(fanouts.open_ones())
        if not standings:
            console.print("No fan-out is under way.")
            return
        with bars(console) as shown:
            Board(shown).show(standings)


def bars(console: Console) -> Progress:
    """An empty board of progress bars: a fan-out a line, with its rate and the time it will take yet."""
    return Progress(
        TextColumn("photo {task.fields[photo]} {task.fields[state]:>9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
    )


class Board:
    """One bar for each fan-out; one that has ended goes full and then off."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._lines: dict[int, TaskID] = {}

    def show(self, standings: list[Standing]) -> None:
        """Brings every bar to where its fan-out is now."""
        for standing in standings:
            line = self._lines.get(standing.photo)
            if line is None:
                line = self._shown.add_task("", photo=standing.photo, state=standing.state, rate="")
                self._lines[standing.photo] = line
            self._shown.update(
                line,
                completed=standing.reached + standing.refused,
                total=standing.total or None,
                state=standing.state,
                rate=_rate(standing),
            )
        ended = self._lines.keys() - {standing.photo for standing in standings}
        for row in FanOut.objects.filter(photo_id__in=ended):
            line = self._lines.pop(row.photo_id)
            self._shown.update(line, completed=row.reached, total=row.total or 1, state=row.state)
            self._shown.stop_task(line)


def _rate(standing: Standing) -> str:
    seconds = standing.running_seconds
    return f"{standing.reached / seconds:,.0f}/s" if seconds > 0 else ""
