"""Circles: make, join, look, and the ranking of the day."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.db import IntegrityError
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from ..circles import members
from ..circles.trending import best_of, day_in
from ..homefeed import reader
from ..models import Circle, CircleMembership, get_photo_model
from ..photos.visibility import not_blocking
from .answers import entries_data
from .pagination import MOST, NewestFirst, limit_of
from .people import PAGED
from .serializers import EntrySerializer, FeedPageSerializer, TextField
from .throttles import ChangeThrottle
from .views import View


class CircleSerializer(serializers.Serializer[Any]):
    """A circle, as it is made and as it is shown."""

    id = serializers.IntegerField(read_only=True)
    name = TextField(max_length=Circle.NAME_LENGTH)
    description = TextField(max_length=Circle.DESCRIPTION_LENGTH, allow_blank=True, default="")
    created_at = serializers.DateTimeField(read_only=True)
    members = serializers.IntegerField(source="member_count", read_only=True, help_text="how many there are")
    member = serializers.BooleanField(read_only=True, help_text="whether the caller is one")


class CirclesPageSerializer(serializers.Serializer[Any]):
    """A page of circles."""

    results = CircleSerializer(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class RankedSerializer(EntrySerializer):
    """A photo in a ranking."""

    score = serializers.IntegerField(help_text="1, and one more per like of that day")


class RankingSerializer(serializers.Serializer[Any]):
    """The best photos of a day; one page."""

    results = RankedSerializer(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


def _circles(request: Request) -> QuerySet[Circle]:
    mine = CircleMembership.objects.filter(circle=OuterRef("pk"), user=request.user.pk)
    return Circle.objects.annotate(member=Exists(mine))


class CirclesView(View):
    """All circles, the newest first; and making one, of which the caller is the first member."""

    throttle_classes = (ChangeThrottle,)

    @extend_schema(operation_id="circles_list", responses=CirclesPageSerializer, parameters=PAGED)
    def get(self, request: Request) -> Response:
        pages = NewestFirst()
        page = pages.paginate_queryset(_circles(request), request) or []
        return pages.get_paginated_response(CircleSerializer(page, many=True).data)

    @extend_schema(request=CircleSerializer, responses={201: CircleSerializer})
    def post(self, request: Request) -> Response:
        body = CircleSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        made = members.create(request.user, **body.validated_data)
        data = CircleSerializer(_circles(request).get(pk=made.pk)).data
        return Response(data, status.HTTP_201_CREATED)


class CircleView(View):
    """One circle."""

    @extend_schema(responses=CircleSerializer)
    def get(self, request: Request, circle_id: int) -> Response:
        return Response(CircleSerializer(get_object_or_404(_circles(request), pk=circle_id)).data)


class MembershipView(View):
    """The caller's membership; joining and leaving may be repeated."""

    throttle_classes = (ChangeThrottle,)

    @extend_schema(request=None, responses={204: None})
    def put(self, request: Request, circle_id: int) -> Response:
        get_object_or_404(Circle, pk=circle_id)
        try:
            members.join(request.user, circle_id)
        except IntegrityError as error:  # it was deleted in this moment
            raise Http404 from error
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, circle_id: int) -> Response:
        get_object_or_404(Circle, pk=circle_id)
        members.leave(request.user, circle_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class CirclePhotosView(View):
    """A circle's photos, newest first."""

    @extend_schema(responses=FeedPageSerializer, parameters=PAGED)
    def get(self, request: Request, circle_id: int) -> Response:
        circle = get_object_or_404(Circle, pk=circle_id)
        photos = not_blocking(get_photo_model()._default_manager.filter(circle_id=circle.pk), request.user)
        pages = NewestFirst()
        entries = reader.entries_of(request.user.pk, pages.paginate_queryset(photos, request) or [])
        return pages.get_paginated_response(entries_data(entries, request))


class HotView(View):
    """A circle's photos by the likes of one UTC day, the best first; days of the last thirty."""

    @extend_schema(
        responses=RankingSerializer,
        parameters=[
            OpenApiParameter("day", date, description="UTC, YYYY-MM-DD; today if it is not given."),
            OpenApiParameter("limit", int, description=f"Photos, 1 to {MOST}."),
        ],
    )
    def get(self, request: Request, circle_id: int) -> Response:
        circle = get_object_or_404(Circle, pk=circle_id)
        limit = limit_of(request)
        try:
            day = day_in(request.query_params.get("day"))
        except ValueError as error:
            raise ValidationError({"day": [str(error)]}) from error
        best = best_of(circle, day, request.user, limit)
        scores = {one.entry.photo.id: one.score for one in best}
        entries = entries_data([one.entry for one in best], request)
        results = [{**entry, "score": scores[entry["id"]]} for entry in entries]
        return Response({"results": results, "next": None, "previous": None})
