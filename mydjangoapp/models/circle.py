"""Circles: photos of a kind, posted by members."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Circle(models.Model):
    """Anybody may look at a circle and join it; only members post into it."""

    NAME_LENGTH = 100
    DESCRIPTION_LENGTH = 2_000

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=NAME_LENGTH)
    description = models.CharField(max_length=DESCRIPTION_LENGTH, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    member_count = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


class CircleMembership(models.Model):
    """`user` is a member of `circle`. `Circle.member_count` is kept in the same transaction."""

    id = models.BigAutoField(primary_key=True)
    circle = models.ForeignKey(Circle, on_delete=models.CASCADE, related_name="memberships", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["circle", "user"], name="circle_member_once")]

    def __str__(self) -> str:
        return f"{self.user_id} in circle {self.circle_id}"
