"""People, their photo albums, and whom they subscribe to: nothing of it is the app's."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models


class Person(AbstractUser):
    """Logs in by e-mail; is called by a nickname."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    username = None  # type: ignore[assignment]  # as Django's documentation removes it
    email = models.EmailField(unique=True)
    nickname = models.CharField(max_length=30)
    followers: models.ManyToManyField[Any, Any] = models.ManyToManyField("self", symmetrical=False)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []


class Photo(models.Model):
    """A picture in somebody's album, which is in nobody's feed."""

    owner: models.ForeignKey[Any, Any] = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="photos"
    )
    liked_by: models.ManyToManyField[Any, Any] = models.ManyToManyField(
        settings.AUTH_USER_MODEL, related_name="likes"
    )

    def __str__(self) -> str:
        return f"a photo of {self.owner}"
