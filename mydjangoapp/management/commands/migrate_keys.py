"""`manage.py migrate_keys [--json]`"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from mydjangoapp.exceptions import DATABASE_AWAY, FeedError
from mydjangoapp.homefeed import old_keys

from ._report import ReportingCommand


class Command(ReportingCommand):
    help = (
        "Renames what earlier versions keep in the feeds' Redis: floor:1990 is floor:{homefeed:1990} today. "
        "Stop the earlier version's processes first. May be broken off and run again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with self.bars() as bars:
                bar = bars.add_task("keys")
                report = old_keys.move_all(
                    lambda done, number: bars.update(bar, completed=done, total=max(done, number))
                )
        except (FeedError, *DATABASE_AWAY) as error:
            raise CommandError(f"{error} What was moved stays; run it again.") from error
        self.report(
            f"{report.moved:,} keys moved, {report.dropped:,} dropped",
            moved=report.moved,
            dropped=report.dropped,
            lists=len(report.lists),
        )
        if report.lists:
            self.report(
                f"{len(report.lists):,} follower lists are built anew from SQL by their next upload: "
                "processes of this version had changed them before"
            )
