"""`manage.py migrate_keys`"""

from __future__ import annotations

from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import Progress

from mydjangoapp.exceptions import DATABASE_AWAY, FeedError
from mydjangoapp.homefeed import old_keys


class Command(BaseCommand):
    help = (
        "Renames what earlier versions keep in the feeds' Redis: floor:1990 is floor:{homefeed:1990} today. "
        "Stop the earlier version's processes first. May be broken off and run again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(file=cast(IO[str], self.stderr))
        try:
            with Progress(console=console) as bars:
                bar = bars.add_task("keys")
                report = old_keys.move_all(
                    lambda done, number: bars.update(bar, completed=done, total=max(done, number))
                )
        except (FeedError, *DATABASE_AWAY) as error:
            raise CommandError(f"{error} What was moved stays; run it again.") from error
        self.stdout.write(f"{report.moved:,} keys moved, {report.dropped:,} dropped")
        if report.lists:
            self.stdout.write(
                f"{len(report.lists):,} follower lists are built anew from SQL by their next upload: "
                "processes of this version had changed them before"
            )
