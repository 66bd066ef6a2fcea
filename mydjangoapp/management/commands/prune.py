"""`manage.py prune [--json]`"""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from mydjangoapp.exceptions import FeedError
from mydjangoapp.ops.pruning import prune

from ._report import ReportingCommand


class Command(ReportingCommand):
    help = (
        "Deletes idempotency keys, ended fan-outs and dead letters that are older than KEEP_UPLOAD_KEYS, "
        "KEEP_FANOUTS and EVENTS_KEEP_DEAD say. Beat does the same every hour."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            pruned = prune()
        except FeedError as error:
            raise CommandError(str(error)) from error
        self.report(f"Deleted: {pruned}.", **asdict(pruned))
