"""The app's tables in Django's admin. What is made or deleted there takes the same way as anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.forms import ModelForm, URLField
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from . import graph, likes, tasks
from .circles import members
from .exceptions import BadUpload, UploadsBusy
from .fanout import rescue
from .homefeed import delivery
from .models import (
    Block,
    Circle,
    CircleMembership,
    FanOut,
    Follow,
    Like,
    Mute,
    Photo,
    UploadKey,
    get_photo_model,
)


class PhotoForm(ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Images come in here as they do over HTTP."""

    photo_url = URLField(max_length=Photo.URL_LENGTH, required=False, assume_scheme="https")

    class Meta:
        model = Photo
        fields = ("user", "circle", "description", "photo_url", "image", "alt_text")

    def clean_circle(self) -> Any:
        circle = self.cleaned_data.get("circle")
        if circle and not self.instance.pk and (user := self.cleaned_data.get("user")):
            try:
                members.check_may_post(user, circle)
            except BadUpload as error:
                raise ValidationError(error.reason) from error
        return circle

    def clean_image(self) -> Any:
        image = self.cleaned_data.get("image")
        if not isinstance(image, UploadedFile):
            return image
        from .photos import images  # here, because a site that takes no images need not have Pillow

        try:
            return images.clean(image)
        except BadUpload as error:
            raise ValidationError(error.reason) from error
        except UploadsBusy as error:
            raise ValidationError(str(error)) from error


class PhotoAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """A photo that is added here is carried into feeds like any other; its author stays the same."""

    form = PhotoForm
    list_display = ("id", "user", "description", "created_at")
    list_select_related = ("user",)
    search_fields = ("description",)
    raw_id_fields = ("user", "circle")
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Photo | None = None) -> tuple[str, ...]:
        return ("user", "circle", "created_at") if obj else ("created_at",)


if get_photo_model() is Photo:  # the site registers a model of its own
    admin.site.register(Photo, PhotoAdmin)


class _PairAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Two users and what is between them; made and ended through `graph`, so that readers know."""

    pair: ClassVar[tuple[str, str]]
    make: ClassVar[Callable[[Any, Any], bool]]
    end: ClassVar[Callable[[Any, Any], bool]]
    show_full_result_count = False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def _ids(self, obj: Any) -> tuple[Any, Any]:
        return getattr(obj, f"{self.pair[0]}_id"), getattr(obj, f"{self.pair[1]}_id")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        type(self).make(*self._ids(obj))
        one, other = self.pair
        obj.pk = type(obj)._default_manager.get(**{one: self._ids(obj)[0], other: self._ids(obj)[1]}).pk

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        type(self).end(*self._ids(obj))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset.iterator():
            self.delete_model(request, row)


class PairForm(ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Two different users."""

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if len({user.pk for user in given.values()}) < len(given):
            raise ValidationError(_("These have to be two users."))
        return given


class FollowForm(PairForm):
    """Refuses what `graph` would."""

    class Meta:
        model = Follow
        fields = ("follower", "followee")

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if {"follower", "followee"} <= given.keys() and graph.blocks(given["follower"], given["followee"]):
            raise ValidationError(_("One of the two blocks the other."))
        return given


@admin.register(Follow)
class FollowAdmin(_PairAdmin):
    """Adds and deletes through `graph`, so that the follower lists know."""

    form = FollowForm
    pair = ("follower", "followee")
    list_display = ("id", "follower", "followee", "created_at")
    list_select_related = raw_id_fields = pair
    make, end = graph.follow, graph.unfollow


@admin.register(FanOut)
class FanOutAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """The ledger, to be read; what was given up can be begun again."""

    actions = ("begin_again",)
    list_display = ("photo_id", "state", "reached", "total", "attempts", "started_at", "finished_at")
    list_filter = ("state",)
    search_fields = ("=photo__id",)
    search_help_text = _("The id of a photo")
    fields = (*list_display, "cursor", "created_at", "heartbeat_at", "last_error")
    show_full_result_count = False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[FanOut], search_term: str
    ) -> tuple[QuerySet[FanOut], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        is_id = term.isascii() and term.isdigit() and int(term) <= delivery.LARGEST_ID
        return (queryset.filter(photo_id=int(term)) if is_id else queryset.none()), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: FanOut | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: FanOut | None = None) -> bool:
        return False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("mydjangoapp.change_fanout"))

    @admin.action(description=_("Begin failed fan-outs again"), permissions=["retry"])
    def begin_again(self, request: HttpRequest, queryset: QuerySet[FanOut]) -> None:
        begun = rescue.retry(tasks.enqueue, queryset.values_list("photo_id", flat=True))
        self.message_user(
            request,
            ngettext(
                "%(number)s fan-out was begun again. Only failed ones can be.",
                "%(number)s fan-outs were begun again. Only failed ones can be.",
                len(begun),
            )
            % {"number": len(begun)},
        )


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


@admin.register(Mute)
class MuteAdmin(_PairAdmin):
    """Who does not want to see whom."""

    form = PairForm
    fields = pair = ("muter", "muted")
    list_display = ("id", "muter", "muted", "created_at")
    list_select_related = raw_id_fields = pair
    make, end = graph.mute, graph.unmute


@admin.register(Block)
class BlockAdmin(_PairAdmin):
    """Who blocks whom; adding one ends following both ways."""

    form = PairForm
    fields = pair = ("blocker", "blocked")
    list_display = ("id", "blocker", "blocked", "created_at")
    list_select_related = raw_id_fields = pair
    make, end = graph.block, graph.unblock


class _MembershipInline(admin.TabularInline):  # type: ignore[type-arg]  # generic in the stubs only
    """Who posts into a circle."""

    model = CircleMembership
    raw_id_fields = ("user",)
    extra = 1


@admin.register(Circle)
class CircleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """A circle and its members."""

    list_display = ("id", "name", "created_at")
    search_fields = ("name",)
    inlines = (_MembershipInline,)
    show_full_result_count = False


@admin.register(Like)
class LikeAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Who likes what; one may be taken away, and the photo's count with it."""

    list_display = ("id", "user", "photo_id", "created_at")
    list_select_related = ("user",)
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Like | None = None) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: Like) -> None:
        likes.unlike(obj.user_id, obj.photo_id)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Like]) -> None:
        for row in queryset.iterator():
            self.delete_model(request, row)
