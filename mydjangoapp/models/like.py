"""Who likes which photo."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models

from .photo_model import photo_model_name


class Like(models.Model):
    """`user` likes `photo`. `Photo.like_count` is kept in the same transaction (`likes.py`)."""

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    photo: models.ForeignKey[Any, Any] = models.ForeignKey(
        photo_model_name(), on_delete=models.CASCADE, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "photo"], name="like_once")]
        indexes = [models.Index(fields=["photo", "created_at"], name="like_of_photo_by_time")]

    def __str__(self) -> str:
        return f"{self.user_id} likes photo {self.photo_id}"
