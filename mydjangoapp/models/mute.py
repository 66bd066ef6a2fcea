"""Whose photos somebody does not want to see."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Mute(models.Model):
    """`muter` goes on following `muted`, and does not see their photos meanwhile."""

    id = models.BigAutoField(primary_key=True)
    muter = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    muted = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["muter", "muted"], name="mute_once")]

    def __str__(self) -> str:
        return f"{self.muter_id} mutes {self.muted_id}"
