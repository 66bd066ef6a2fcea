"""What goes in and out over HTTP."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.validators import URLValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from ..homefeed.reader import Entry
from ..models import FanOut, Photo, UploadKey
from .links import url_of


class TextField(serializers.CharField):
    """Text that has to be text: DRF's own would turn the number 5 into "5"."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class AuthorField(serializers.PrimaryKeyRelatedField[Any]):
    """The author: the caller, or any user if the caller has `mydjangoapp.upload_for_others`.

    A caller without the permission is refused before the id is looked up, so that nobody finds out which
    ids there are.
    """

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool) or not isinstance(data, int | str):
            self.fail("incorrect_type", data_type=type(data).__name__)
        caller = self.context["request"].user
        if str(data) == str(caller.pk):
            return caller
        if not caller.has_perm("mydjangoapp.upload_for_others"):
            raise PermissionDenied(
                "user_id: uploading in another user's name needs mydjangoapp.upload_for_others."
            )
        return super().to_internal_value(data)


class UploadSerializer(serializers.Serializer[Photo]):
    """The body of an upload: a description and either the URL of a photo or an image file."""

    description = TextField(max_length=Photo.DESCRIPTION_LENGTH)
    photo_url = TextField(
        max_length=Photo.URL_LENGTH,
        required=False,
        validators=[URLValidator(schemes=["http", "https"])],
        help_text="http or https; never fetched by the server",
    )
    image = serializers.FileField(required=False, help_text="JPEG, PNG or WebP")
    circle_id = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=2**63 - 1,
        help_text="a circle of the author's",
    )
    user_id = AuthorField(queryset=get_user_model()._default_manager.all(), required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("photo_url" in attrs) == ("image" in attrs):
            raise serializers.ValidationError({"photo_url": "Give either photo_url or image, and not both."})
        return attrs


class UploadHeaders(serializers.Serializer[Any]):
    """The headers of an upload that mean something."""

    idempotency_key = serializers.RegexField(
        r"^[\x21-\x7e]+$",
        max_length=UploadKey.LENGTH,
        required=False,
        error_messages={"invalid": "Only printable ASCII characters without spaces."},
    )


class PhotoSerializer(serializers.ModelSerializer[Photo]):
    """A photo as its readers get it."""

    photo_url = serializers.SerializerMethodField()

    class Meta:
        model = Photo
        fields = ("id", "user_id", "circle_id", "description", "photo_url", "created_at")

    def get_photo_url(self, photo: Photo) -> str:
        return str(self.context["request"].build_absolute_uri(photo.url))


class UploadedPhotoSerializer(PhotoSerializer):
    """A photo as its uploader gets it: with the URL of its progress."""

    fanout = serializers.SerializerMethodField()

    class Meta(PhotoSerializer.Meta):
        fields = (*PhotoSerializer.Meta.fields, "fanout")  # type: ignore[assignment]  # one more

    circle_id = serializers.IntegerField(required=False, help_text="if it was posted into one")

    def to_representation(self, photo: Photo) -> dict[str, Any]:
        data = super().to_representation(photo)
        if photo.circle_id is None:
            del data["circle_id"]
        return data

    def get_fanout(self, photo: Photo) -> str:
        return url_of(self.context["request"], "fanout", photo.pk)


@extend_schema_field({"anyOf": [{"type": "integer"}, {"type": "string"}]})
class UserIdField(serializers.ReadOnlyField):
    """A user's id, of the type that the site's users have."""


class AuthorSerializer(serializers.Serializer[Any]):
    """What everybody may know of a user."""

    id = UserIdField()
    username = serializers.CharField(help_text="empty where people log in by e-mail")
    name = serializers.CharField()


class MoreSerializer(serializers.Serializer[Any]):
    """The photos that an entry stands for besides its own (`COLLAPSE_AUTHOR_AFTER`)."""

    count = serializers.IntegerField()
    url = serializers.URLField(help_text="all photos of the author")


class EntrySerializer(PhotoSerializer):
    """A photo in a page."""

    author = AuthorSerializer()
    like_count = serializers.IntegerField()
    liked = serializers.BooleanField(help_text="by the caller")
    more = MoreSerializer(required=False)

    class Meta(PhotoSerializer.Meta):
        fields = (*PhotoSerializer.Meta.fields, "author", "like_count", "liked", "more")  # type: ignore[assignment]  # more of them


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


def entry_data(entry: Entry, request: Request) -> dict[str, Any]:
    """An entry as `EntrySerializer` describes it; by hand, because a page is made of nothing else."""
    photo, author = entry.photo, entry.author
    data = {
        "id": photo.id,
        "user_id": photo.user_id,
        "circle_id": photo.circle_id,
        "description": photo.description,
        "photo_url": photo.url if "://" in photo.url else request.build_absolute_uri(photo.url),
        "created_at": photo.created_at,
        "author": {"id": author.id, "username": author.username, "name": author.name},
        "like_count": photo.like_count,
        "liked": entry.liked,
    }
    if entry.more:
        data["more"] = {"count": entry.more, "url": url_of(request, "user-photos", author.id)}
    return data


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
