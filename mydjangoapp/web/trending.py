"""`/circles/{id}/trending/`: the ranking of a day, as a page."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import Http404
from django.shortcuts import get_object_or_404

from ..circles import projection
from ..circles.trending import best_of, day_in
from ..models import Circle
from .page import Page

PHOTOS = 50


class TrendingView(Page):
    """The photos of a circle by the likes of a day."""

    template_name = "mydjangoapp/trending.html"

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
