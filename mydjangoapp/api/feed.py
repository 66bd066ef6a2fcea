"""`GET /feed/`: the caller's own home feed, and nobody else's."""

from __future__ import annotations

from urllib.parse import urlencode

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from ..homefeed import reader
from .links import url_of
from .pagination import MOST, cursor_for, limit_of, place_of
from .serializers import FeedPageSerializer, entry_data
from .views import View


class FeedView(View):
    """Photos of the caller and their followees, newest first; `next` leads to older ones until it is
    null, `previous` to those that came in on top since."""

    @extend_schema(
        responses=FeedPageSerializer,
        parameters=[
            OpenApiParameter("limit", int, description=f"Photos a page, 1 to {MOST}."),
            OpenApiParameter("cursor", description="From `next`: older photos."),
            OpenApiParameter("newer_than", description="From `previous`: the photos next above."),
        ],
    )
    def get(self, request: Request) -> Response:
        limit = limit_of(request)
        before, after = place_of(request, "cursor"), place_of(request, "newer_than")
        if before is not None and after is not None:
            raise ValidationError({"newer_than": ["Give either cursor or newer_than, and not both."]})
        user = request.user.pk
        if after is None:
            page = reader.older(user, limit=limit, before=before)
        else:
            page = reader.newer(user, limit=limit, after=after)

        address = url_of(request, "feed")

        def link(name: str, photo_id: int) -> str:
            query = urlencode({"limit": limit, name: cursor_for(request.user, photo_id)})
            return f"{address}?{query}"

        return Response(
            {
                "results": [entry_data(entry, request) for entry in page.entries],
                "next": None if page.older is None else link("cursor", page.older),
                "previous": link("newer_than", page.newer),
            }
        )
