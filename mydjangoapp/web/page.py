"""What all pages have in common."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View
from django.views.decorators.gzip import gzip_page
from django.views.generic import TemplateView

from ..api.throttles import ChangeThrottle
from ..connections.requests import AWAY, RETRY_AFTER
from ..exceptions import DATABASE_AWAY
from .links import page

logger = logging.getLogger(__name__)

PHOTOS = 20
"""On a page; the next ones come as the reader gets there."""


@method_decorator(gzip_page, "dispatch")
class ForPeople(LoginRequiredMixin, View):
    """For users who are logged in by session. While the database is away they are told so."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().dispatch(request, *args, **kwargs)
        except DATABASE_AWAY as error:
            logger.error("503, because of the database: %s", error)
            headers = {"Retry-After": str(RETRY_AFTER)}
            return HttpResponse(AWAY, status=503, content_type="text/plain", headers=headers)


class Page(ForPeople, TemplateView):
    """A page. Asked for by a script that needs a part of it only, it answers `part_name`."""

    part_name: ClassVar[str] = ""

    def get_template_names(self) -> list[str]:
        if self.part_name and wants_part(self.request):
            return [self.part_name]
        return super().get_template_names()


class Action(ForPeople):
    """Something that a user does with a form, and may repeat: `POST`, at most `CHANGE_RATE`. Then they are
    back where they were."""

    http_method_names = ["post", "options"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and is_too_often(request, ChangeThrottle()):
            return too_often(request)
        return super().dispatch(request, *args, **kwargs)


def wants_part(request: HttpRequest) -> bool:
    """Whether htmx asks, and does not restore a whole page from its history."""
    return "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers


def is_too_often(request: HttpRequest, throttle: Any) -> bool:
    """Whether this user has done it too often. Counts with what they do over the API."""
    return bool(request.user.is_authenticated and not throttle.allow_request(request, None))


def too_often(request: HttpRequest) -> HttpResponse:
    """429, as a page."""
    return render(request, "mydjangoapp/too_often.html", status=429)


def back(request: HttpRequest, otherwise: str = "home") -> str:
    """The page on which a form says that it was, if that is one of this site; else this one of the app's."""
    said = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(said, {request.get_host()}, require_https=request.is_secure())
    return said if said and is_ours else page(request, otherwise)
