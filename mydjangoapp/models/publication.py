"""Messages that wait to be published."""

from __future__ import annotations

from typing import Any

from django.db import models


class Publication(models.Model):
    """The outbox of events: written in the transaction that publishes, sent when that has committed,
    deleted when that has settled (`events/publishing.py`). `messages`: a list of `[id, body as JSON text]`,
    in order."""

    id = models.BigAutoField(primary_key=True)
    topic = models.CharField(max_length=64)
    action = models.CharField(max_length=100)
    receipt = models.CharField(max_length=32, help_text="id of the first message")
    messages: models.JSONField[Any, Any] = models.JSONField()
    published_at = models.CharField(max_length=32, help_text="as in the message")
    due_at = models.DateTimeField(null=True, blank=True, help_text="not to be delivered before")
    claimed_at = models.DateTimeField(null=True, blank=True, help_text="somebody is sending it")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{len(self.messages):,} of {self.action} to {self.topic}"
