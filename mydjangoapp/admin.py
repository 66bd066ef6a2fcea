"""The app's tables in Django's admin. What is made or deleted there takes the same way as anywhere."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.forms import ModelForm, URLField
from django.http import HttpRequest

from . import graph, images
from .exceptions import BadUpload
from .models import FanOut, Follow, Photo, UploadKey


class PhotoForm(ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Images come in here as they do over HTTP."""

    photo_url = URLField(max_length=Photo.URL_LENGTH, required=False, assume_scheme="https")

    class Meta:
        model = Photo
        fields = ("user", "description", "photo_url", "image")

    def clean_image(self) -> Any:
        image = self.cleaned_data.get("image")
        if not isinstance(image, UploadedFile):
            return image
        try:
            return images.clean(image)
        except BadUpload as error:
            raise ValidationError(error.reason) from error


@admin.register(Photo)
class PhotoAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """A photo that is added here is carried into feeds like any other; its author stays the same."""

    form = PhotoForm
    list_display = ("id", "user", "description", "created_at")
    list_select_related = ("user",)
    search_fields = ("description",)
    raw_id_fields = ("user",)
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Photo | None = None) -> tuple[str, ...]:
        return ("user", "created_at") if obj else ("created_at",)


class FollowForm(ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Refuses what `graph` would."""

    class Meta:
        model = Follow
        fields = ("follower", "followee")

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if {"follower", "followee"} <= given.keys() and graph.blocks(given["follower"], given["followee"]):
            raise ValidationError("One of the two blocks the other.")
        return given


@admin.register(Follow)
class FollowAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Adds and deletes through `graph`, so that the follower lists know."""

    form = FollowForm
    list_display = ("id", "follower", "followee", "created_at")
    list_select_related = ("follower", "followee")
    raw_id_fields = ("follower", "followee")
    show_full_result_count = False

    def has_change_permission(self, request: HttpRequest, obj: Follow | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Follow, form: ModelForm[Follow], change: bool) -> None:
        graph.follow(obj.follower_id, obj.followee_id)
        obj.pk = Follow.objects.get(follower=obj.follower_id, followee=obj.followee_id).pk

    def delete_model(self, request: HttpRequest, obj: Follow) -> None:
        graph.unfollow(obj.follower_id, obj.followee_id)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Follow]) -> None:
        for row in queryset.iterator():
            self.delete_model(request, row)


@admin.register(FanOut)
class FanOutAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """The ledger, to be read."""

    list_display = ("photo_id", "state", "reached", "total", "attempts", "started_at", "finished_at")
    list_filter = ("state",)
    search_fields = ("=photo_id",)
    fields = (*list_display, "cursor", "created_at", "heartbeat_at", "last_error")
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: FanOut | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: FanOut | None = None) -> bool:
        return False


@admin.register(UploadKey)
class UploadKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Idempotency keys that have been used; deleting one lets it be used again."""

    list_display = ("key", "user", "photo_id", "created_at")
    raw_id_fields = ("user", "photo")
    show_full_result_count = False

    def has_add_permission(self, request: Any) -> bool:
        return False

    def has_change_permission(self, request: Any, obj: UploadKey | None = None) -> bool:
        return False
