"""What goes in and out over HTTP."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.validators import URLValidator
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied

from ..conf import imported
from ..exceptions import BadUpload
from ..models import FanOut, Photo, UploadKey, get_photo_model


class TextField(serializers.CharField):
    """Text that has to be text: DRF's own would turn the number 5 into "5"."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class AuthorField(serializers.PrimaryKeyRelatedField[Any]):
    """The author: the caller, or any user if the caller has `upload_for_others` of the photo model.

    A caller without the permission is refused before the id is looked up, so that nobody finds out which
    ids there are.
    """

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool) or not isinstance(data, int | str):
            self.fail("incorrect_type", data_type=type(data).__name__)
        caller = self.context["request"].user
        if str(data) == str(caller.pk):
            return caller
        permission = f"{get_photo_model()._meta.app_label}.upload_for_others"
        if not getattr(caller, "has_perm", lambda _: False)(permission):
            problem = _("user_id: uploading in another user's name needs %(permission)s.")
            raise PermissionDenied(problem % {"permission": permission})
        return super().to_internal_value(data)


class UploadFields(serializers.Serializer[Any]):
    """What every upload may say: in whose name it comes, and into which circle. Base for the site's own
    `UPLOAD_SERIALIZER`, which lists those of them that it takes in `Meta.fields`."""

    circle_id = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=2**63 - 1,
        help_text="a circle of the author's",
    )
    user_id = AuthorField(queryset=get_user_model()._default_manager.all(), required=False)


class CleanImageField(serializers.FileField):
    """An image that is decoded and written anew, in the limits of `UPLOAD_MAX_BYTES` and
    `UPLOAD_MAX_PIXELS`, for the site's own serializers."""

    def to_internal_value(self, data: Any) -> Any:
        return clean_image(super().to_internal_value(data), self.field_name or "image", within_field=True)


def clean_image(upload: Any, field: str, *, within_field: bool = False) -> Any:
    """A clean file of the same picture. Raises `ValidationError`, and `UploadsBusy`."""
    from ..photos import images  # here, because a site that takes no images need not have Pillow

    try:
        return images.clean(upload)
    except BadUpload as error:
        reasons = [error.reason]
        raise serializers.ValidationError(reasons if within_field else {field: reasons}) from error


class UploadSerializer(UploadFields):
    """The body of an upload: a description and either the URL of a photo or an image file."""

    description = TextField(max_length=Photo.DESCRIPTION_LENGTH)
    photo_url = TextField(
        max_length=Photo.URL_LENGTH,
        required=False,
        validators=[URLValidator(schemes=["http", "https"])],
        help_text="http or https; never fetched by the server",
    )
    image = serializers.FileField(required=False, help_text="JPEG, PNG or WebP")
    alt_text = TextField(
        max_length=Photo.ALT_TEXT_LENGTH,
        required=False,
        allow_blank=True,
        help_text="what the picture shows, for people who do not see it",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("photo_url" in attrs) == ("image" in attrs):
            raise serializers.ValidationError(
                {"photo_url": _("Give either photo_url or image, and not both.")}
            )
        if "image" in attrs:  # last of all, because it costs most
            attrs["image"] = clean_image(attrs["image"], "image")
        return attrs


class UploadHeaders(serializers.Serializer[Any]):
    """The headers of an upload that mean something."""

    idempotency_key = serializers.RegexField(
        r"^[\x21-\x7e]+$",
        max_length=UploadKey.LENGTH,
        required=False,
        error_messages={"invalid": _("Only printable ASCII characters without spaces.")},
    )


@extend_schema_field({"anyOf": [{"type": "integer"}, {"type": "string"}]})
class UserIdField(serializers.ReadOnlyField):
    """A user's id, of the type that the site's users have."""


class _PhotoFields(serializers.Serializer[Any]):
    """What the API shows of every photo, and what the site's `PHOTO_SERIALIZER` adds."""

    id = serializers.IntegerField()
    user_id = UserIdField()
    circle_id = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()

    class Meta:
        model = get_photo_model()  # drf-spectacular looks here for what a relation leads to

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        own = imported("PHOTO_SERIALIZER")
        added = {"description": serializers.CharField(), "photo_url": serializers.URLField()}
        return super().get_fields() | (added if own is None else own().get_fields())


class UploadedPhotoSerializer(_PhotoFields):
    """A photo as its uploader gets it: with the URL of its progress."""

    circle_id = serializers.IntegerField(required=False, help_text="if it was posted into one")
    fanout = serializers.URLField()


class AuthorSerializer(serializers.Serializer[Any]):
    """What everybody may know of a user."""

    id = UserIdField()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        own = imported("AUTHOR_SERIALIZER")
        added: dict[str, serializers.Field[Any, Any, Any, Any]] = {
            "username": serializers.CharField(help_text="empty where people log in by something else"),
            "name": serializers.CharField(),
        }
        if own is not None:  # of what a callable returns nothing is known
            added = own().get_fields() if hasattr(own, "data") else {}
        return super().get_fields() | added


class MoreSerializer(serializers.Serializer[Any]):
    """The photos that an entry stands for besides its own (`COLLAPSE_AUTHOR_AFTER`)."""

    count = serializers.IntegerField()
    url = serializers.URLField(help_text="all photos of the author")


class SizeSerializer(serializers.Serializer[Any]):
    """A smaller file of the same picture, for a `srcset`."""

    width = serializers.IntegerField()
    height = serializers.IntegerField()
    type = serializers.ChoiceField(choices=["image/avif", "image/webp"])
    url = serializers.URLField()


class EntrySerializer(_PhotoFields):
    """A photo in a page."""

    alt_text = serializers.CharField(help_text="what the picture shows; empty if its author has not said")
    width = serializers.IntegerField(allow_null=True, help_text="pixels; null for a photo kept elsewhere")
    height = serializers.IntegerField(allow_null=True)
    placeholder = serializers.CharField(help_text="a tiny picture as a data: URL, or empty")
    sizes = SizeSerializer(many=True, help_text="empty until they are made")

    author = AuthorSerializer()
    like_count = serializers.IntegerField()
    liked = serializers.BooleanField(help_text="by the caller")
    more = MoreSerializer(required=False)


class FeedPageSerializer(serializers.Serializer[Any]):
    """A page of a feed."""

    results = EntrySerializer(many=True)
    next = serializers.URLField(allow_null=True, help_text="older photos")
    previous = serializers.URLField(allow_null=True, help_text="photos that came in on top since")


class PeoplePageSerializer(serializers.Serializer[Any]):
    """A page of users."""

    results = AuthorSerializer(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class ProfileSerializer(AuthorSerializer):
    """A user, and how the caller stands to them."""

    following = serializers.BooleanField()
    muted = serializers.BooleanField()
    blocked = serializers.BooleanField()


class ProgressSerializer(serializers.Serializer[Any]):
    """How far a fan-out is."""

    state = serializers.ChoiceField(choices=FanOut.State.choices)
    reached = serializers.IntegerField()
    total = serializers.IntegerField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    lag_seconds = serializers.FloatField(help_text="from the upload to its end, or to now")


class TokenSerializer(serializers.Serializer[Any]):
    """What `POST /token/` answers."""

    token = serializers.CharField()
