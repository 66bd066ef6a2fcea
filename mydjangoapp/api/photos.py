"""One photo: look, delete, like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from .. import likes
from ..connections import database
from ..homefeed import reader
from ..models import get_photo_model
from ..photos.visibility import not_blocking
from .answers import entries_data
from .permissions import IsAuthorOrStaffToChange
from .serializers import EntrySerializer
from .throttles import ChangeThrottle
from .views import View


class PhotoView(View):
    """A photo, for everybody whom its author does not block."""

    permission_classes = (IsAuthorOrStaffToChange,)
    throttle_classes = (ChangeThrottle,)

    @extend_schema(responses=EntrySerializer)
    def get(self, request: Request, photo_id: int) -> Response:
        photo = _photo(request, photo_id)
        data = entries_data(reader.entries_of(request.user.pk, [photo]), request)
        if not data:  # it or its author is being deleted in this moment
            raise Http404
        return Response(data[0])

    @extend_schema(responses={204: None})
    def delete(self, request: Request, photo_id: int) -> Response:
        photo = _photo(request, photo_id)
        self.check_object_permissions(request, photo)
        with database.atomic():
            # The lock first, as a like does: or the two would wait for each other.
            database.primary(get_photo_model()).select_for_update().filter(id=photo.pk).first()
            photo.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)


class LikeView(View):
    """The caller's like; giving and taking it may be repeated."""

    throttle_classes = (ChangeThrottle,)

    @extend_schema(request=None, responses={204: None})
    def put(self, request: Request, photo_id: int) -> Response:
        _or_404(likes.like, request, photo_id)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, photo_id: int) -> Response:
        _or_404(likes.unlike, request, photo_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _or_404(change: Callable[[Any, int], bool], request: Request, photo_id: int) -> None:
    try:
        change(request.user, _photo(request, photo_id).pk)
    except get_photo_model().DoesNotExist as error:
        raise Http404 from error


def _photo(request: Request, photo_id: int) -> Any:
    return get_object_or_404(
        not_blocking(get_photo_model()._default_manager.all(), request.user), id=photo_id
    )
