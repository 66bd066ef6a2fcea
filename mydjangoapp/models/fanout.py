"""The ledger: how far each photo has been carried."""

from __future__ import annotations

from django.db import models


class FanOut(models.Model):
    """One photo's delivery to all its author's followers.

    Written in the photo's own transaction, so that a photo that was committed is carried even if
    the process dies before it could enqueue the task (the outbox pattern,
    https://microservices.io/patterns/data/transactional-outbox.html). While it runs, the exact
    figures are in Redis (`homefeed/delivery.py`); this row follows about once a second.

    The row outlives its photo, so that a delivery that was cancelled by a deletion can still be seen.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    OPEN = (State.WAITING, State.RUNNING)

    id = models.BigAutoField(primary_key=True)
    photo = models.OneToOneField(
        "mydjangoapp.Photo", on_delete=models.DO_NOTHING, db_constraint=False, related_name="fanout"
    )
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    cursor = models.BigIntegerField(default=0, help_text="index into the follower list")
    reached = models.BigIntegerField(default=0, help_text="followers who have it")
    total = models.BigIntegerField(default=0, help_text="followers there are")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True, help_text="last sign of life")
    finished_at = models.DateTimeField(
        null=True, blank=True, help_text="the end; while the state is still running it has to settle"
    )
    attempts = models.PositiveIntegerField(default=0, help_text="starts without progress in between")
    last_error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            # The rescue looks at the few open ones among millions of ended ones.
            models.Index(
                fields=["heartbeat_at"],
                name="fanout_open",
                condition=models.Q(state__in=["waiting", "running"]),
            ),
            models.Index(fields=["id"], name="fanout_failed", condition=models.Q(state="failed")),
        ]

    def __str__(self) -> str:
        return f"fan-out of photo {self.photo_id}: {self.state}, {self.reached:,} of {self.total:,}"

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN
