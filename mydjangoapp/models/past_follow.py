"""What stays visible after an unfollow, where the site wants that."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class PastFollow(models.Model):
    """`follower` keeps `followee`'s photos up to the id `upto`. Made with `ON_UNFOLLOW = "keep"` only;
    goes when they follow again, and with a block."""

    id = models.BigAutoField(primary_key=True)
    follower = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    followee = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    upto = models.BigIntegerField(help_text="highest photo id that stays")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["follower", "followee"], name="past_follow_once")]

    def __str__(self) -> str:
        return f"{self.follower_id} followed {self.followee_id} up to photo {self.upto}"
