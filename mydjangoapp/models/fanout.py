"""The ledger: how far each photo has been carried."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from .photo_model import photo_model_name


class FanOutQuerySet(models.QuerySet["FanOut"]):
    """The ledger's verbs. Those that change rows change open ones only, unless they say otherwise, and return
    whether there was one: a fan-out that another process has ended meanwhile stays as it is."""

    def of(self, photo_id: int) -> FanOutQuerySet:
        """The fan-out of one photo."""
        return self.filter(photo_id=photo_id)

    def open(self) -> FanOutQuerySet:
        """Those that have not ended."""
        return self.filter(state__in=FanOut.OPEN)

    def failed(self) -> FanOutQuerySet:
        """Those that were given up."""
        return self.filter(state=FanOut.State.FAILED)

    def silent_since(self, moment: datetime) -> FanOutQuerySet:
        """Open ones that the ledger has heard nothing of since then."""
        never_heard_of = Q(heartbeat_at=None, created_at__lt=moment)
        return self.open().filter(Q(heartbeat_at__lt=moment) | never_heard_of)

    def advance(self, **figures: Any) -> bool:
        """Enters how far a fan-out under way is."""
        return bool(self.open().update(state=FanOut.State.RUNNING, heartbeat_at=timezone.now(), **figures))

    def claim_for_rescue(self, row: FanOut, now: datetime) -> bool:
        """Notes a sign of life for this row; False if somebody was faster."""
        as_seen = self.open().filter(pk=row.pk, state=row.state, heartbeat_at=row.heartbeat_at)
        return bool(as_seen.update(heartbeat_at=now))

    def begin_again(self) -> bool:
        """Opens a failed one again, with no attempt counted."""
        opened = self.failed().update(
            state=FanOut.State.RUNNING, attempts=0, finished_at=None, heartbeat_at=timezone.now()
        )
        return bool(opened)

    def finish(self, **figures: Any) -> bool:
        """Ends it as done."""
        return self._end(FanOut.State.DONE, last_error="", **figures)

    def give_up(self, why: str, **figures: Any) -> bool:
        """Ends it as failed."""
        return self._end(FanOut.State.FAILED, last_error=why, **figures)

    def cancel(self) -> bool:
        """Ends it because its photo is gone; a failed one is no longer to be retried either."""
        self.failed().update(state=FanOut.State.CANCELLED)
        return self._end(FanOut.State.CANCELLED, last_error="")

    def note_error(self, error: str) -> bool:
        """Keeps the last error, for admin and progress."""
        return bool(self.open().update(last_error=error[:2000]))

    def count_attempt(self) -> bool:
        """Counts one more start without progress."""
        return bool(self.open().update(attempts=F("attempts") + 1, heartbeat_at=timezone.now()))

    def _end(self, state: FanOut.State, **fields: Any) -> bool:
        now = timezone.now()
        fields = {"finished_at": now, "heartbeat_at": now, **fields}
        return bool(self.open().update(state=state, **fields))


class FanOut(models.Model):
    """One photo's delivery to all its author's followers.

    Written in the photo's own transaction, so that a committed photo is carried even if the process dies
    before it could enqueue the task (the outbox pattern,
    https://microservices.io/patterns/data/transactional-outbox.html). While it runs, the exact figures are in
    Redis (`homefeed/delivery/`). This row follows about once a second; a fan-out that takes less is written
    once, when it is settled.

    The row outlives its photo, so that a delivery that a deletion cancelled can still be seen.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    OPEN = (State.WAITING, State.RUNNING)

    id = models.BigAutoField(primary_key=True)
    photo: models.OneToOneField[Any, Any] = models.OneToOneField(
        photo_model_name(), on_delete=models.DO_NOTHING, db_constraint=False, related_name="fanout"
    )
    # The photo's author, where what Redis holds of a fan-out is found when the photo is gone.
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    cursor = models.BigIntegerField(default=0, help_text="index into the follower list")
    reached = models.BigIntegerField(default=0, help_text="followers who have it")
    total = models.BigIntegerField(default=0, help_text="followers there are")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True, help_text="last sign of life")
    finished_at = models.DateTimeField(null=True, blank=True, help_text="the end")
    attempts = models.PositiveIntegerField(default=0, help_text="starts without progress in between")
    last_error = models.TextField(blank=True)

    objects = FanOutQuerySet.as_manager()

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
