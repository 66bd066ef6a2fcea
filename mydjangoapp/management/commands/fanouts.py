"""`manage.py fanouts [--watch | --retry [PHOTO ...]] [--json]`"""

import time
from dataclasses import asdict
from itertools import islice
from typing import IO, Any, cast

from django.core.management.base import CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from mydjangoapp import tasks
from mydjangoapp.fanout import progress, rescue
from mydjangoapp.fanout.progress import Progress
from mydjangoapp.models import FanOut

from ._report import ReportingCommand

NAMED = 1_000  # fan-outs under way that a report in JSON names, the oldest


class Command(ReportingCommand):
    help = (
        "Shows the fan-outs that are under way: followers reached, rate, time left. "
        "With --retry begins those again that were given up as failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        either = parser.add_mutually_exclusive_group()
        either.add_argument("--watch", action="store_true", help="keep showing them, until Ctrl-C")
        either.add_argument(
            "--retry",
            nargs="*",
            type=int,
            metavar="PHOTO",
            help="begin the failed fan-outs of these photos again, or all that failed",
        )
        parser.add_argument("--interval", type=float, default=0.2, help="seconds between two looks (0.2)")

    def handle(
        self, *args: Any, watch: bool, interval: float, retry: list[int] | None, **options: Any
    ) -> None:
        if retry is not None:
            self._retry(retry)
            return
        console = Console(file=cast(IO[str], self.stdout))
        if options.get("as_json"):
            open_ones = [asdict(one) for one in islice(progress.open_ones(), NAMED)]
            self.report(failed=progress.failed_ones(), open=open_ones)
            return
        if not watch:
            self._once(console)
            return
        try:
            with bars(console) as shown:
                board = Board(shown)
                while True:
                    board.show(list(progress.open_ones()))
                    time.sleep(interval)
        except KeyboardInterrupt:
            return

    def _retry(self, photos: list[int]) -> None:
        begun = rescue.retry(tasks.enqueue, photos or None)
        if others := sorted(set(photos) - set(begun)):
            raise CommandError(f"Not failed, or not there: {', '.join(map(str, others))}.")
        self.report(f"{len(begun)} fan-outs begun again", begun=begun)

    def _once(self, console: Console) -> None:
        open_ones = list(progress.open_ones())
        if failed := progress.failed_ones():
            console.print(f"{failed:,} failed: see their last_error in the admin, then fanouts --retry.")
        if not open_ones:
            console.print("No fan-out is under way.")
            return
        with bars(console) as shown:
            Board(shown).show(open_ones)


def bars(console: Console) -> Bars:
    """An empty board of progress bars: one line for each fan-out, with its rate and the time left."""
    return Bars(
        TextColumn("photo {task.fields[photo]} {task.fields[state]:>9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
    )


class Board:
    """One bar for each fan-out; one that has ended goes full and then off."""

    def __init__(self, shown: Bars) -> None:
        self._shown = shown
        self._lines: dict[int, TaskID] = {}

    def show(self, open_ones: list[Progress]) -> None:
        """Brings every bar to where its fan-out is now."""
        for one in open_ones:
            line = self._lines.get(one.photo_id)
            if line is None:
                line = self._shown.add_task("", photo=one.photo_id, state=one.state, rate="")
                self._lines[one.photo_id] = line
            self._shown.update(
                line,
                completed=one.reached + one.refused,
                total=one.total or None,
                state=one.state,
                rate=_rate(one),
            )
        ended = self._lines.keys() - {one.photo_id for one in open_ones}
        for row in FanOut.objects.filter(photo_id__in=ended):
            line = self._lines.pop(row.photo_id)
            self._shown.update(line, completed=row.reached, total=row.total or 1, state=row.state)
            self._shown.stop_task(line)


def _rate(one: Progress) -> str:
    seconds = one.running_seconds
    return f"{one.reached / seconds:,.0f}/s" if seconds > 0 else ""
