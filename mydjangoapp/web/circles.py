"""`/c/`: circles, their photos, and joining them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db import IntegrityError
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext_lazy
from django.views.generic import FormView

from ..api.throttles import ChangeThrottle
from ..circles import members
from ..homefeed import reader
from ..models import Circle, CircleMembership, get_photo_model
from ..photos.visibility import not_blocking
from .links import page
from .page import PHOTOS, Action, ForPeople, Page, back, is_too_often, too_often, wants_part
from .paging import page_of

CIRCLES = 30


def circles_for(user: Any) -> QuerySet[Circle]:
    """All circles, with `is_member`."""
    mine = CircleMembership.objects.filter(circle=OuterRef("pk"), user=user.pk)
    return Circle.objects.annotate(is_member=Exists(mine))


class CirclesView(Page):
    """All circles, the newest first."""

    template_name = "mydjangoapp/circles.html"
    part_name = "mydjangoapp/_circles.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        found = page_of(circles_for(self.request.user), self.request, CIRCLES)
        return super().get_context_data(circles=found.rows, before=found.before, **kwargs)


class CircleForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """A new circle."""

    class Meta:
        model = Circle
        fields = ("name", "description")
        labels = {"name": gettext_lazy("Name"), "description": gettext_lazy("What it is about")}
        widgets = {"description": forms.Textarea(attrs={"rows": 3})}


class NewCircleView(ForPeople, FormView):  # type: ignore[type-arg]  # generic in the stubs only
    """Makes a circle, of which the reader is the first member."""

    template_name = "mydjangoapp/new_circle.html"
    form_class = CircleForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and is_too_often(request, ChangeThrottle()):
            return too_often(request)
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: CircleForm) -> Any:
        made = members.create(self.request.user, **form.cleaned_data)
        return HttpResponseRedirect(page(self.request, "circle", made.pk))


class CircleView(Page):
    """A circle and its photos, newest first."""

    template_name = "mydjangoapp/circle.html"
    part_name = "mydjangoapp/_entries.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        circle = get_object_or_404(circles_for(self.request.user), pk=kwargs["circle_id"])
        photos = get_photo_model()._default_manager.filter(circle_id=circle.pk)
        found = page_of(not_blocking(photos, self.request.user), self.request, PHOTOS)
        entries = reader.entries_of(self.request.user.pk, found.rows)
        return super().get_context_data(circle=circle, entries=entries, before=found.before, **kwargs)


class MembershipView(Action):
    """Joins a circle (`on` is 1), or leaves it."""

    def post(self, request: HttpRequest, circle_id: int) -> HttpResponseBase:
        get_object_or_404(Circle, pk=circle_id)
        try:
            (members.join if request.POST.get("on") == "1" else members.leave)(request.user, circle_id)
        except IntegrityError as error:  # it was deleted in this moment
            raise Http404 from error
        if wants_part(request):
            circle = get_object_or_404(circles_for(request.user), pk=circle_id)
            return render(request, "mydjangoapp/_membership.html", {"circle": circle})
        return HttpResponseRedirect(back(request, "circles"))
