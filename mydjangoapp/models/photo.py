"""What an author publishes, where the site has no photo model of its own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext as _

from ..exceptions import BadUpload
from .abstract_photo import AbstractPhoto, photo_indexes


def image_path(photo: Any, filename: str) -> str:
    """A place that cannot be guessed and carries nothing of the name the file came with.

    Only the ending is kept, and that was set by `images.clean`, not by the client. Two leading
    characters make a folder, so that no folder grows beyond what a file system likes.
    """
    name = secrets.token_hex(16)
    return f"photos/{name[:2]}/{name}.{filename.rsplit('.', 1)[-1]}"


class Photo(AbstractPhoto):
    """A photo: either the URL of one that is kept elsewhere, or an image file of our own.

    Saving a new one, by whatever way, opens its fan-out (see `uploads.py`). Ids grow: the feed is
    ordered by them.
    """

    FILE_FIELD: ClassVar[str] = "image"
    DESCRIPTION_LENGTH = 2_000
    URL_LENGTH = 2_000
    ALT_TEXT_LENGTH = 1_500

    description = models.CharField(max_length=DESCRIPTION_LENGTH)
    photo_url = models.URLField(max_length=URL_LENGTH, blank=True)
    alt_text = models.CharField(
        max_length=ALT_TEXT_LENGTH,
        blank=True,
        db_default="",  # a process of the version before writes rows without it while a site is upgraded
        help_text="what the picture shows, for people who do not see it",
    )
    # A FileField: an ImageField would open each file again, and want Pillow of sites that take no images.
    image = models.FileField(upload_to=image_path, blank=True, max_length=100)
    circle = models.ForeignKey(
        "mydjangoapp.Circle",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="photos",
        db_index=False,
    )

    class Meta(AbstractPhoto.Meta):
        swappable = "MYDJANGOAPP_PHOTO_MODEL"
        indexes = photo_indexes("photo", circle="circle")

    @classmethod
    def check_upload(cls, fields: Mapping[str, Any]) -> None:
        """Either a URL or an image."""
        if bool(fields.get("photo_url")) == ("image" in fields):
            raise BadUpload("photo_url", _("Give either photo_url or image, and not both."))

    def event_fields(self) -> dict[str, Any]:
        """Description and URL."""
        return {"description": self.description, "photo_url": self.url}

    @property
    def outer_url(self) -> str:
        """Where its author says that it is."""
        return self.photo_url
