"""The site with views to compare with: a page from one SQL join, a constant page, a bare upload."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.urls import include, path
from rest_framework.authentication import SessionAuthentication, TokenAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from mydjangoapp.api.answers import uploaded_data
from mydjangoapp.api.serializers import UploadSerializer
from mydjangoapp.api.views import View
from mydjangoapp.models import Photo

PAGE = 20
# The newest of each followee by the index on (user, -id), then the newest of those.
LATERAL = """
SELECT photo.*, author.id, author.username, EXISTS (
    SELECT 1 FROM mydjangoapp_like WHERE user_id = %(me)s AND photo_id = photo.id)
FROM mydjangoapp_follow AS follow
CROSS JOIN LATERAL (
    SELECT id, user_id, description, photo_url, created_at, like_count FROM mydjangoapp_photo
    WHERE user_id = follow.followee_id ORDER BY id DESC LIMIT %(page)s) AS photo
JOIN auth_user AS author ON author.id = photo.user_id
WHERE follow.follower_id = %(me)s ORDER BY photo.id DESC LIMIT %(page)s
"""
# Newest photos of all, until enough of them are by followees.
BACKWARDS = """
SELECT photo.id, photo.user_id, photo.description, photo.photo_url, photo.created_at, photo.like_count,
  author.id, author.username, EXISTS (
    SELECT 1 FROM mydjangoapp_like WHERE user_id = %(me)s AND photo_id = photo.id)
FROM mydjangoapp_photo AS photo
JOIN auth_user AS author ON author.id = photo.user_id
WHERE EXISTS (SELECT 1 FROM mydjangoapp_follow
              WHERE follower_id = %(me)s AND followee_id = photo.user_id)
ORDER BY photo.id DESC LIMIT %(page)s
"""


def entry(row: tuple[Any, ...]) -> dict[str, Any]:
    """A row as the API shows it."""
    return {
        "id": row[0],
        "user_id": row[1],
        "description": row[2],
        "photo_url": row[3],
        "created_at": row[4].isoformat(),
        "author": {"id": row[6], "username": row[7], "name": ""},
        "like_count": row[5],
        "liked": row[8],
    }


class PlainView(APIView):
    """As one writes it with REST framework alone."""

    authentication_classes = (TokenAuthentication, SessionAuthentication)
    permission_classes = (IsAuthenticated,)
    renderer_classes = (JSONRenderer,)


class JoinView(PlainView):
    """What one would write without Redis; the site's planner has good statistics."""

    query = LATERAL

    def get(self, request: Request) -> Response:
        with connection.cursor() as cursor:
            cursor.execute(self.query, {"me": request.user.pk, "page": PAGE})
            return Response({"results": [entry(row) for row in cursor.fetchall()]})


class BackwardsView(JoinView):
    """The same by the other plan."""

    query = BACKWARDS


class ConstantView(PlainView):
    """The limit: authentication, REST framework, and a page of the same size that is there already."""

    page: dict[str, Any] = {}

    def get(self, request: Request) -> Response:
        if not self.page:
            with connection.cursor() as cursor:
                cursor.execute(LATERAL, {"me": request.user.pk, "page": PAGE})
                rows = [entry(row) for row in cursor.fetchall()]
            self.page.update({"results": rows, "next": request.build_absolute_uri("/"), "previous": None})
        return Response(self.page)


class ConstantHereView(View):
    """The same page by the class that this app's views have."""

    def get(self, request: Request) -> Response:
        return Response(ConstantView.page)


class BareView(View):
    """The limit of an upload: authentication, DRF, the same checks of the body, and one row."""

    def post(self, request: Request) -> Response:
        body = UploadSerializer(data=request.data, context={"request": request})
        body.is_valid(raise_exception=True)
        given, user = body.validated_data, request.user.pk
        photo = Photo(user_id=user or 0, description=given["description"], photo_url=given["photo_url"])
        Photo.objects.bulk_create([photo])  # past every signal
        return Response(uploaded_data(photo, request), 201)


urlpatterns = [
    path("", include("proj.urls")),
    path("join/", JoinView.as_view()),
    path("backwards/", BackwardsView.as_view()),
    path("constant/", ConstantView.as_view()),
    path("constant-here/", ConstantHereView.as_view()),
    path("bare/", BareView.as_view()),
]
