"""`/new/`: uploading a photo."""

from __future__ import annotations

import secrets
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.generic import FormView

from .. import uploads
from ..api.throttles import UploadThrottle
from ..exceptions import BadUpload, UploadsBusy
from ..models import Circle, Photo, UploadKey
from ..photos import images
from .links import page
from .page import ForPeople, is_too_often, too_often, wants_part


class UploadForm(forms.Form):
    """A photo: a file, or where it is."""

    image = forms.FileField(
        label=gettext_lazy("Photo"),
        required=False,
        help_text=gettext_lazy("JPEG, PNG or WebP. Where and with what it was taken is not kept."),
        widget=forms.FileInput(attrs={"accept": "image/jpeg,image/png,image/webp"}),
    )
    photo_url = forms.URLField(
        label=gettext_lazy("Or its address"),
        required=False,
        max_length=Photo.URL_LENGTH,
        assume_scheme="https",
        help_text=gettext_lazy("A photo that is on the web already; it stays there."),
    )
    description = forms.CharField(
        label=gettext_lazy("Description"),
        max_length=Photo.DESCRIPTION_LENGTH,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    alt_text = forms.CharField(
        label=gettext_lazy("What the picture shows"),
        required=False,
        max_length=Photo.ALT_TEXT_LENGTH,
        help_text=gettext_lazy("For people who do not see it."),
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    circle = forms.ModelChoiceField(
        Circle.objects.none(),
        label=gettext_lazy("Circle"),
        required=False,
        empty_label=gettext_lazy("No circle"),
    )
    key = forms.CharField(widget=forms.HiddenInput, required=False, max_length=UploadKey.LENGTH)

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        circles: Any = self.fields["circle"]
        circles.queryset = Circle.objects.filter(memberships__user=user)
        if not circles.queryset.exists():
            del self.fields["circle"]

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return given
        if bool(given.get("image")) == bool(given.get("photo_url")):
            self.add_error("image", _("Choose a photo, or give its address; not both."))
        elif given.get("image"):
            try:
                given["image"] = images.clean(given["image"])  # last of all, because it costs most
            except BadUpload as error:
                self.add_error("image", error.reason)
            except UploadsBusy as error:
                self.add_error("image", str(error))
        return given


class UploadView(ForPeople, FormView):  # type: ignore[type-arg]  # generic in the stubs only
    """Publishes a photo."""

    template_name = "mydjangoapp/upload.html"
    form_class = UploadForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and is_too_often(request, UploadThrottle()):
            return too_often(request)
        return super().dispatch(request, *args, **kwargs)

    def get_template_names(self) -> list[str]:
        return ["mydjangoapp/_upload.html"] if wants_part(self.request) else super().get_template_names()

    def get_initial(self) -> dict[str, Any]:
        # So a form that is sent twice publishes once.
        return {"circle": self.request.GET.get("circle"), "key": secrets.token_urlsafe(16)}

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "user": self.request.user}

    def form_valid(self, form: UploadForm) -> HttpResponse:
        given = form.cleaned_data
        fields = {name: given[name] or None for name in ("image", "photo_url")}
        try:
            uploads.publish(
                self.request.user,
                circle=given.get("circle"),
                idempotency_key=given["key"] or None,
                description=given["description"],
                alt_text=given["alt_text"],
                **fields,
            )
        except BadUpload as error:
            form.add_error("circle" if error.field == "circle_id" else error.field, error.reason)
            return self.form_invalid(form)
        messages.success(self.request, _("Your photo is on its way to your followers."))
        return self._answer()

    def form_invalid(self, form: UploadForm) -> HttpResponse:
        answer = super().form_invalid(form)
        answer.status_code = 200 if wants_part(self.request) else 422
        return answer

    def _answer(self) -> HttpResponse:
        home = page(self.request, "home")
        if wants_part(self.request):
            return HttpResponse(status=204, headers={"HX-Redirect": home})
        return HttpResponse(status=302, headers={"Location": home})
