"""`manage.py rescue_fanouts [--json]`"""

from typing import Any

from django.core.management.base import CommandError

from mydjangoapp import tasks
from mydjangoapp.ops.recovery import recover

from ._report import ReportingCommand


class Command(ReportingCommand):
    help = "Enqueues fan-outs again that wait or stand still for longer than the lease."

    def handle(self, *args: Any, **options: Any) -> None:
        done = recover(tasks.enqueue, tasks.enqueue_removal, tasks.enqueue_sizes, by_hand=True)
        self.report(
            f"{done.rescued} fan-outs enqueued again, {done.changes} changes of the graph brought in, "
            f"{done.events} rows of events sent"
            + (f", {done.voided} keys of nodes that lost writes dropped" if done.voided else ""),
            rescued=done.rescued,
            changes=done.changes,
            events=done.events,
            voided=done.voided,
            problems=done.problems,
        )
        if done.problems:
            raise CommandError(" ".join(dict.fromkeys(done.problems)))
