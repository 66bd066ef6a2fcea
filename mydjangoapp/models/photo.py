"""What an author publishes."""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.db import models, router, transaction


def image_path(photo: Photo, filename: str) -> str:
    """A place that cannot be guessed and carries nothing of the name the file came with.

    Only the ending is kept, and that was set by `images.clean`, not by the client. Two leading
    characters make a folder, so that no folder grows beyond what a file system likes.
    """
    name = secrets.token_hex(16)
    return f"photos/{name[:2]}/{name}.{filename.rsplit('.', 1)[-1]}"


class Photo(models.Model):
    """A photo: either the URL of one that is kept elsewhere, or an image file of our own.

    Saving a new one, by whatever way, opens its fan-out (see `uploads.py`). Ids grow: the feed is
    ordered by them.
    """

    DESCRIPTION_LENGTH = 2_000
    URL_LENGTH = 2_000
    COUNTED = ("like_count", "pulled")

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="photos", db_index=False
    )
    description = models.CharField(max_length=DESCRIPTION_LENGTH)
    photo_url = models.URLField(max_length=URL_LENGTH, blank=True)
    image = models.ImageField(upload_to=image_path, blank=True, max_length=100)
    circle = models.ForeignKey(
        "mydjangoapp.Circle",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="photos",
        db_index=False,
    )
    created_at = models.DateTimeField(auto_now_add=True)
    like_count = models.PositiveIntegerField(default=0, editable=False)
    pulled = models.BooleanField(
        default=False, editable=False, help_text="not pushed: its author has more than PULL_ABOVE followers"
    )

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["user", "-id"], name="photo_user_newest"),
            models.Index(fields=["circle", "-id"], name="photo_circle_newest"),
            models.Index(fields=["user", "-id"], name="photo_pulled", condition=models.Q(pulled=True)),
        ]
        permissions = [("upload_for_others", "Can upload photos in other users' names")]

    def __str__(self) -> str:
        return f"photo {self.pk}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Saves it; what others count meanwhile, `like_count` and `pulled`, is not written back."""
        if not self._state.adding and kwargs.get("update_fields") is None and not kwargs.get("force_insert"):
            fields = (field.name for field in self._meta.concrete_fields if not field.primary_key)
            kwargs["update_fields"] = [name for name in fields if name not in self.COUNTED]
        # With the fan-out that its signal writes: a photo alone would be carried to nobody.
        with transaction.atomic(using=kwargs.get("using") or router.db_for_write(type(self), instance=self)):
            super().save(*args, **kwargs)

    @property
    def url(self) -> str:
        """Where the picture is: of our own storage if we keep it, else where its author says."""
        return str(self.image.url) if self.image else self.photo_url
