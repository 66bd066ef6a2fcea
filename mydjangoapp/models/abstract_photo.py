"""What the feeds need of a photo, whatever else the site keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.db import models, router, transaction
from django.utils import timezone


def photo_indexes(
    name: str = "%(class)s", *, author: str = "user", circle: str = "circle_id"
) -> list[models.Index]:
    """The indexes that feeds, profiles and circles are read by, for the `Meta` of a photo model.

    `name` begins the names of the indexes, at most 16 characters; `author`: the model's `AUTHOR_FIELD`.
    """
    return [
        models.Index(fields=[author, "-id"], name=f"{name}_user_newest"),
        models.Index(fields=[circle, "-id"], name=f"{name}_circle_newest"),
        models.Index(fields=[author, "-id"], name=f"{name}_pulled", condition=models.Q(pulled=True)),
    ]


class AbstractPhoto(models.Model):
    """Base of the site's own photo model, which `MYDJANGOAPP_PHOTO_MODEL` names.

    Holds the author, the moment of creation, a growing integer id, the circle, and what the feeds count.
    Saving a new one, by whatever way, opens its fan-out. The default manager has to show every row;
    `FEED_FILTER` is for what a feed leaves out.

    A model whose author field has another name sets `user = None` and `AUTHOR_FIELD`; it brings
    `Meta.indexes = photo_indexes(author=…)` of its own then. See docs/ADOPTING.md.
    """

    AUTHOR_FIELD: ClassVar[str] = "user"
    """The foreign key to the user who posts."""
    FILE_FIELD: ClassVar[str] = ""
    """A file of this photo alone: it is removed with the photo. Empty: deleting a photo removes no file."""
    fanout: Any
    """Its fan-out, as a model of the app refers to it."""
    COUNTED: ClassVar[tuple[str, ...]] = ("like_count", "pulled")

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    # Not a foreign key: then the site's first migration would wait for the app's, which waits for it.
    circle_id = models.BigIntegerField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    like_count = models.PositiveIntegerField(default=0, editable=False)
    pulled = models.BooleanField(
        default=False, editable=False, help_text="not pushed: its author has more than PULL_ABOVE followers"
    )

    class Meta:
        abstract = True
        ordering = ["-id"]
        indexes = photo_indexes()
        permissions = [("upload_for_others", "Can upload photos in other users' names")]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Saves it; what others count meanwhile, `like_count` and `pulled`, is not written back."""
        if not self._state.adding and kwargs.get("update_fields") is None and not kwargs.get("force_insert"):
            fields = (field.name for field in self._meta.concrete_fields if not field.primary_key)
            kwargs["update_fields"] = [name for name in fields if name not in self.COUNTED]
        # With the fan-out that its signal writes: a photo alone would be carried to nobody.
        with transaction.atomic(using=kwargs.get("using") or router.db_for_write(type(self), instance=self)):
            super().save(*args, **kwargs)

    @classmethod
    def check_upload(cls, fields: Mapping[str, Any]) -> None:
        """Raises `BadUpload` for fields that do not go together; none of them is None."""

    @classmethod
    def author_column(cls) -> str:
        """The attribute, and the name in `values_list`, that holds the author's id."""
        return str(cls._meta.get_field(cls.AUTHOR_FIELD).attname)  # type: ignore[union-attr]  # a foreign key

    @property
    def author_key(self) -> Any:
        """The author's id, whatever the field is called."""
        return getattr(self, self.author_column())

    def event_fields(self) -> dict[str, Any]:
        """What `photo.published` says of it besides id, author, circle and date; JSON values. Called when the
        row is saved; related rows do not exist yet."""
        return {}

    @property
    def url(self) -> str:
        """Where the picture is, absolute or relative to the site; empty if there is none.

        A model that overrides it has its answer kept in the cache; otherwise the URL of `FILE_FIELD` is made
        for each page, so that a storage may sign it.
        """
        file = getattr(self, self.FILE_FIELD) if self.FILE_FIELD else None
        return str(file.url) if file else self.outer_url

    @property
    def outer_url(self) -> str:
        """Where the picture is if it is kept elsewhere; empty if it is not."""
        return ""

    @property
    def file_name(self) -> str:
        """Name in its storage of the file that goes when the photo is deleted; empty if there is none."""
        return str(getattr(self, self.FILE_FIELD) or "") if self.FILE_FIELD else ""
