"""`GET /feed/`: the caller's own home feed, and nobody else's."""

from __future__ import annotations

from urllib.parse import quote

from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from ..homefeed import reader
from ..homefeed.ranking import Place
from .answers import entries_data
from .pagination import MOST, below, cursors_for, limit_of, place_of
from .serializers import FeedPageSerializer
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
            raise ValidationError({"newer_than": [_("Give either cursor or newer_than, and not both.")]})
        user = request.user.pk
        if after is None:
            page = reader.older(user, limit=limit, before=before)
        else:
            page = reader.newer(user, limit=limit, after=below(after))

        address = request.build_absolute_uri(request.path)
        cursor_of = cursors_for(request.user)

        def link(name: str, place: int | Place) -> str:
            return f"{address}?limit={limit}&{name}={quote(cursor_of(place))}"

        return Response(
            {
                "results": entries_data(page.entries, request),
                "next": None if page.older is None else link("cursor", page.older),
                "previous": link("newer_than", page.newer),
            }
        )
