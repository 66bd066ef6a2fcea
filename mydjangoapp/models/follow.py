"""Who follows whom."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone


class Follow(models.Model):
    """`follower` sees the photos of `followee`. The lists `followers:{user}` are made from these rows.

    Following again after an unfollow makes a new row with a higher id; `homefeed/followers.py`
    relies on it to tell an old change from a new one.
    """

    id = models.BigAutoField(primary_key=True)
    follower = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    followee = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["follower", "followee"], name="follow_once"),
            models.CheckConstraint(
                condition=~models.Q(follower=models.F("followee")), name="follow_not_oneself"
            ),
        ]
        indexes = [
            models.Index(fields=["followee", "id"], name="follow_followee_in_order"),
            models.Index(fields=["follower", "id"], name="follow_follower_in_order"),
        ]

    def __str__(self) -> str:
        return f"{self.follower_id} follows {self.followee_id}"
