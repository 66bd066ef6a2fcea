"""`/accounts/` and `/settings/`: signing up, one's name, one's data, and leaving."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import get_user_model, login, logout, views
from django.contrib.auth.forms import BaseUserCreationForm
from django.core.exceptions import FieldDoesNotExist
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.forms import modelform_factory
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.generic import FormView, UpdateView

from ..conf import conf
from ..connections.paging import in_pages
from ..models import Block, CircleMembership, Follow, Like, Mute, author_is, get_photo_model
from ..photos import rows
from .links import page
from .page import ForPeople

ROWS = 1_000
NAMES = ("first_name", "last_name")


class SignUpView(FormView):  # type: ignore[type-arg]  # generic in the stubs only
    """A new user, who is logged in at once."""

    template_name = "mydjangoapp/accounts/sign_up.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return HttpResponseRedirect(page(request, "home"))
        return super().dispatch(request, *args, **kwargs)

    def get_form_class(self) -> type[Any]:
        """Of the site's users: what they log in by, what they have to give, and a password."""
        model = get_user_model()
        fields = list(dict.fromkeys([model.USERNAME_FIELD, *model.REQUIRED_FIELDS]))
        return modelform_factory(model, form=BaseUserCreationForm, fields=fields)

    def form_valid(self, form: Any) -> HttpResponse:
        user = form.save()
        login(self.request, user, backend="django.contrib.auth.backends.ModelBackend")
        return HttpResponseRedirect(page(self.request, "people"))


class LoginView(views.LoginView):
    """Django's own, in the look of the pages."""

    template_name = "mydjangoapp/accounts/login.html"
    redirect_authenticated_user = True

    def get_default_redirect_url(self) -> str:
        return page(self.request, "home")


class LogoutView(views.LogoutView):
    """The same; then the page to log in."""

    def get_default_redirect_url(self) -> str:
        return page(self.request, "accounts:login")


class PasswordView(views.PasswordChangeView):
    """The same; then the settings."""

    template_name = "mydjangoapp/accounts/password.html"

    def get_success_url(self) -> str:
        messages.success(self.request, _("Your password is changed."))
        return page(self.request, "settings")


class SettingsView(ForPeople, UpdateView):  # type: ignore[type-arg]  # generic in the stubs only
    """What others see of the user."""

    template_name = "mydjangoapp/settings.html"

    def get_object(self, queryset: QuerySet[Any] | None = None) -> Any:
        # Not the request's own: what a form has not accepted must not be shown as the user's name.
        return _read_anew(self.request.user)

    def get_form_class(self) -> type[Any]:
        return modelform_factory(get_user_model(), fields=_fields_of_names())

    def get_success_url(self) -> str:
        return page(self.request, "settings")

    def form_valid(self, form: Any) -> HttpResponse:
        messages.success(self.request, _("Saved."))
        return super().form_valid(form)


def _read_anew(user: Any) -> Any:
    return get_user_model()._default_manager.get(pk=user.pk)


def _fields_of_names() -> list[str]:
    """The fields of the user model that others see, apart from what people log in by."""
    model = get_user_model()
    found = []
    for name in (*NAMES, *([conf.PUBLIC_NAME] if conf.PUBLIC_NAME else [])):
        try:
            is_editable = getattr(model._meta.get_field(name), "editable", False)
        except FieldDoesNotExist:
            continue
        if is_editable and name != model.USERNAME_FIELD:
            found.append(name)
    return list(dict.fromkeys(found))


class LeaveForm(forms.Form):
    """The user's password, so that a page left open is not enough."""

    password = forms.CharField(
        label=gettext_lazy("Your password"),
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if not self._user.check_password(password):
            raise forms.ValidationError(_("That is not your password."))
        return password


class LeaveView(ForPeople, FormView):  # type: ignore[type-arg]  # generic in the stubs only
    """Deletes the user with all they have posted."""

    template_name = "mydjangoapp/leave.html"
    form_class = LeaveForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "user": self.request.user}

    def form_valid(self, form: LeaveForm) -> HttpResponse:
        user = _read_anew(self.request.user)
        logout(self.request)
        user.delete()
        messages.success(self.request, _("Your account and all that you have posted are deleted."))
        return HttpResponseRedirect(resolve_url(settings.LOGIN_URL))


class DownloadView(ForPeople):
    """All that the site has of the user, as JSON; sent as it is read."""

    def get(self, request: HttpRequest) -> HttpResponseBase:
        answer = StreamingHttpResponse(_all_of(request.user), content_type="application/json")
        answer["Content-Disposition"] = 'attachment; filename="my-data.json"'
        return answer


def _all_of(user: Any) -> Iterator[str]:
    me = user.pk
    photos = get_photo_model()._default_manager.filter(author_is(user))
    parts: dict[str, Iterable[Any]] = {
        "photos": _photos(photos),
        "following": _rows(Follow.objects.filter(follower=me), "followee_id", "created_at"),
        "followers": _rows(Follow.objects.filter(followee=me), "follower_id", "created_at"),
        "muted": _rows(Mute.objects.filter(muter=me), "muted_id", "created_at"),
        "blocked": _rows(Block.objects.filter(blocker=me), "blocked_id", "created_at"),
        "likes": _rows(Like.objects.filter(user=me), "photo_id", "created_at"),
        "circles": _rows(CircleMembership.objects.filter(user=me), "circle_id", "created_at"),
    }
    profile = {**rows.of_author(user).shown(), user.USERNAME_FIELD: user.get_username()}
    yield f'{{"profile": {_as_json(profile)}'
    for name, values in parts.items():
        yield f', "{name}": ['
        for number, value in enumerate(values):
            yield (", " if number else "") + _as_json(value)
        yield "]"
    yield "}\n"


def _photos(photos: QuerySet[Any]) -> Iterator[dict[str, Any]]:
    for some in in_pages(photos, size=ROWS):
        for row in rows.of_photos(some):
            shown = ("id", "description", "alt_text", "url", "created_at", "like_count", "circle_id")
            yield {name: getattr(row, name) for name in shown}


def _rows(found: QuerySet[Any], *fields: str) -> Iterator[dict[str, Any]]:
    for some in in_pages(found.values_list("pk", *fields), size=ROWS):
        for _pk, *values in some:
            yield dict(zip(fields, values, strict=True))


def _as_json(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder)
