"""`/circles/{id}/trending/`: the ranking of a day, as a page."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.generic import TemplateView

from ..circles import projection
from ..circles.trending import best_of, day_in
from ..connections.requests import AWAY
from ..exceptions import DATABASE_AWAY
from ..models import Circle

logger = logging.getLogger(__name__)

PHOTOS = 50


class TrendingView(LoginRequiredMixin, TemplateView):
    """For users who are logged in by session."""

    template_name = "mydjangoapp/trending.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().dispatch(request, *args, **kwargs)
        except DATABASE_AWAY as error:
            logger.error("503, because of the database: %s", error)
            return HttpResponse(AWAY, status=503, content_type="text/plain", headers={"Retry-After": "5"})

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        circle = get_object_or_404(Circle, pk=kwargs["circle_id"])
        try:
            day = day_in(self.request.GET.get("day"))
        except ValueError as error:
            raise Http404(str(error)) from error
        before, after = day - timedelta(days=1), day + timedelta(days=1)
        return super().get_context_data(
            circle=circle,
            day=day,
            before=before if projection.is_kept(before) else None,
            after=after if after <= projection.today() else None,
            best=best_of(circle, day, self.request.user, PHOTOS),
            **kwargs,
        )
