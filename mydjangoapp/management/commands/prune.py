"""`manage.py prune`"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mydjangoapp.exceptions import FeedError
from mydjangoapp.ops.pruning import prune


class Command(BaseCommand):
    help = (
        "Deletes idempotency keys, ended fan-outs and dead letters that are older than KEEP_UPLOAD_KEYS, "
        "KEEP_FANOUTS and EVENTS_KEEP_DEAD say. Beat does the same every hour."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.stdout.write(f"Deleted: {prune()}.")
        except FeedError as error:
            raise CommandError(str(error)) from error
