"""What pages need of a photo's file beside the file itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from .photo_model import photo_model_name


class PictureQuerySet(models.QuerySet["Picture"]):
    """What is done to the rows, each by a conditional UPDATE: any number of processes may do it at once."""

    def due(self, now: datetime) -> PictureQuerySet:
        """Those whose sizes nobody seems to make."""
        return self.filter(due_at__lt=now)

    def as_seen(self, picture: Picture) -> PictureQuerySet:
        """This row, if nobody has begun with it since, and it is still of the same file."""
        return self.filter(photo_id=picture.photo_id, file=picture.file, attempts=picture.attempts)


class Picture(models.Model):
    """The measures of a photo's file, a preview that is shown while it loads, and smaller files made of it.

    `sizes` is None until they are made: `[width, height, format, name in the storage]` of each, by format and
    width. An empty list: none are needed, or none can be made of this file.
    """

    photo: models.OneToOneField[Any, Any] = models.OneToOneField(
        photo_model_name(), on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    file = models.CharField(max_length=255, help_text="name in the storage of what all this is of")
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    placeholder = models.CharField(max_length=1_000, blank=True, help_text="a tiny picture, as a data: URL")
    sizes = models.JSONField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(
        null=True, help_text="when they are to be asked for again; empty: they are there, or given up"
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = PictureQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="picture_due", condition=Q(due_at__isnull=False))]

    def __str__(self) -> str:
        return f"of photo {self.photo_id}"
