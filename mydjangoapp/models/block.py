"""Blocks: which user blocks which."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Block(models.Model):
    """Neither of the two sees the other's photos in the home feed, and neither can follow the other."""

    id = models.BigAutoField(primary_key=True)
    blocker = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    blocked = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["blocker", "blocked"], name="block_once")]
        # The truth asks in both directions.
        indexes = [models.Index(fields=["blocked", "blocker"], name="block_other_way")]

    def __str__(self) -> str:
        return f"{self.blocker_id} blocks {self.blocked_id}"
