"""`Idempotency-Key` headers that have been seen."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models

from .photo_model import photo_model_name


class UploadKey(models.Model):
    """The photo that a user's `Idempotency-Key` stands for. Goes when the photo goes."""

    LENGTH = 255

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    key = models.CharField(max_length=LENGTH)
    photo: models.ForeignKey[Any, Any] = models.ForeignKey(
        photo_model_name(), on_delete=models.CASCADE, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="upload_key_once")]

    def __str__(self) -> str:
        return f"{self.key} of user {self.user_id}"
