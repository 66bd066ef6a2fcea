"""Articles, as they are once they are in feeds; the first migration has what they were before."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models

from mydjangoapp.models import AbstractPhoto, photo_indexes


class Article(AbstractPhoto):
    """Written by its author, as the magazine calls them."""

    AUTHOR_FIELD: ClassVar[str] = "author"

    id = models.AutoField(primary_key=True)  # as the table has it
    user = None  # type: ignore[assignment]  # the magazine's own field takes its place
    author: models.ForeignKey[Any, Any] = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="articles"
    )
    title = models.CharField(max_length=200)
    published = models.DateTimeField()

    class Meta(AbstractPhoto.Meta):
        indexes = photo_indexes("article", author="author")

    def __str__(self) -> str:
        return self.title
