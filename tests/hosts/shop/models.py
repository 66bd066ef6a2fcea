"""Posts instead of photos."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models

from mydjangoapp.models import AbstractPhoto


class Tag(models.Model):
    """A word to find posts by."""

    name = models.CharField(max_length=40, unique=True)

    def __str__(self) -> str:
        return self.name


class Post(AbstractPhoto):
    """What the shop's users publish."""

    text = models.TextField(max_length=5_000)
    tags: models.ManyToManyField[Any, Any] = models.ManyToManyField(Tag, blank=True)
    # Names that the app's relations must not take.
    likes: models.ManyToManyField[Any, Any] = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="liked_posts"
    )

    def __str__(self) -> str:
        return self.text[:40]

    def event_fields(self) -> dict[str, Any]:
        """For the shop's search."""
        return {"text": self.text}


class Picture(models.Model):
    """One of a post's pictures."""

    post: models.ForeignKey[Any, Any] = models.ForeignKey(
        Post, on_delete=models.CASCADE, related_name="pictures"
    )
    file = models.FileField(upload_to="posts/")
    alt = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.alt
