"""`manage.py rescue_fanouts`"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mydjangoapp import outbox, tasks
from mydjangoapp.events import publishing
from mydjangoapp.exceptions import FeedError
from mydjangoapp.fanout import rescue


class Command(BaseCommand):
    help = "Enqueues fan-outs again that wait or stand still for longer than the lease."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            changes = outbox.catch_up()
            rescued = rescue.rescue(tasks.enqueue, by_hand=True)
            settled = rescue.settle(tasks.enqueue)
            events = publishing.send_waiting()
        except FeedError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{rescued + settled.reopened} fan-outs enqueued again, {changes} changes of the graph brought "
            f"in, {events} rows of events sent"
        )
