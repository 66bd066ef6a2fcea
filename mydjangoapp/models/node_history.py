"""What each node of the feeds' cluster had for good."""

from __future__ import annotations

from django.db import models


class NodeHistory(models.Model):
    """Texts that were written to `history:{…}` in a node's first slot. A node that does not have the
    `confirmed` one has gone back in time: until the feeds there are void, `lost_at` says when that was
    noticed."""

    slot = models.PositiveSmallIntegerField(primary_key=True)
    confirmed = models.CharField(max_length=12, blank=True, help_text="disk and replica had it")
    pending = models.CharField(max_length=12, help_text="is to be confirmed next")
    pending_at = models.DateTimeField()
    lost_at = models.DateTimeField(null=True, blank=True)
    life = models.CharField(max_length=12, blank=True, help_text="of the node whose keys are gone through")
    position = models.CharField(max_length=20, default="0", help_text="among them, as SCAN has it")

    class Meta:
        verbose_name_plural = "node histories"

    def __str__(self) -> str:
        return f"the node of slot {self.slot}" + (": lost writes" if self.lost_at else "")
