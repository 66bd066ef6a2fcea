"""The views. Authentication and limits are set here, so that a host site's defaults do not matter."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from django.utils.translation import gettext_lazy as _
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, PermissionDenied, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission, IsAdminUser, IsAuthenticated
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

from .. import tasks, uploads
from ..conf import all_imported, imported
from ..exceptions import BadUpload, NotAMember
from ..fanout import progress, rescue
from ..models import FanOut, get_photo_model
from .answers import uploaded_data
from .outages import AnswersWhenAway
from .parsers import BoundedJSONParser, BoundedMultiPartParser
from .permissions import IsAuthorOrStaff
from .serializers import (
    ProgressSerializer,
    UploadedPhotoSerializer,
    UploadHeaders,
    UploadSerializer,
)
from .throttles import UploadThrottle


class View(AnswersWhenAway):
    """Logged in, and answered, as the site's settings say: by token or session, in JSON. The token comes
    first, so that a refusal is a 401."""

    schema = AutoSchema()
    permission_classes: tuple[type[BasePermission], ...] = (IsAuthenticated,)
    parser_classes: tuple[type[BaseParser], ...] = (BoundedJSONParser,)

    def get_authenticators(self) -> list[BaseAuthentication]:
        """`AUTHENTICATION_CLASSES`."""
        return [one() for one in _classes("AUTHENTICATION_CLASSES")]

    def get_permissions(self) -> list[Any]:
        """The view's own, then `PERMISSION_CLASSES`."""
        return [one() for one in dict.fromkeys((*self.permission_classes, *_classes("PERMISSION_CLASSES")))]

    def get_renderers(self) -> list[BaseRenderer]:
        """`RENDERER_CLASSES`."""
        return [one() for one in _classes("RENDERER_CLASSES")]


def _classes(setting: str) -> list[Any]:
    classes = all_imported(setting)
    return list(getattr(api_settings, f"DEFAULT_{setting}")) if classes is None else classes


class UploadView(View):
    """Publishes a photo; it is then carried into the home feed of every follower."""

    parser_classes = (BoundedJSONParser, BoundedMultiPartParser)
    throttle_classes = (UploadThrottle,)

    @extend_schema(
        request={"application/json": UploadSerializer, "multipart/form-data": UploadSerializer},
        responses={201: UploadedPhotoSerializer},
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                location=OpenApiParameter.HEADER,
                description="The same key by the same user gives the same photo, once.",
            )
        ],
    )
    def post(self, request: Request) -> Response:
        context = {"request": request}
        key = _idempotency_key(request)
        own = imported("UPLOAD_SERIALIZER")
        body = (own or UploadSerializer)(data=request.data, context=context)
        body.is_valid(raise_exception=True)
        fields = body.validated_data
        author, circle = fields.pop("user_id", request.user), fields.pop("circle_id", None)
        options = {"circle": circle, "idempotency_key": key, "caller": request.user}
        try:
            if own is None:
                photo = uploads.publish(author, **options, **fields)
            else:
                photo = uploads.publish_with(body.save, author, **options)
        except NotAMember as error:
            raise PermissionDenied(str(error)) from error
        except BadUpload as error:
            raise ValidationError({error.field: [error.reason]}) from error
        return Response(uploaded_data(photo, request), status.HTTP_201_CREATED)


def _idempotency_key(request: Request) -> str | None:
    if "Idempotency-Key" not in request.headers:
        return None
    headers = UploadHeaders(data={"idempotency_key": request.headers["Idempotency-Key"]})
    if not headers.is_valid():
        raise ValidationError({"Idempotency-Key": headers.errors["idempotency_key"]})
    return str(headers.validated_data["idempotency_key"])


class FanOutView(View):
    """How far the delivery of a photo is, for its author and for staff."""

    permission_classes = (IsAuthorOrStaff,)

    @extend_schema(responses=ProgressSerializer)
    def get(self, request: Request, photo_id: int) -> Response:
        photo = get_object_or_404(get_photo_model()._default_manager.all(), id=photo_id)
        self.check_object_permissions(request, photo)
        row = get_object_or_404(FanOut, photo=photo)
        return Response(ProgressSerializer(progress.of(row, photo)).data)


class RetryView(View):
    """Begins a failed fan-out again; for staff. Followers who have the photo do not get it
    twice."""

    permission_classes = (IsAdminUser,)

    @extend_schema(
        request=None,
        responses={
            202: ProgressSerializer,
            409: OpenApiResponse(OpenApiTypes.OBJECT, description="its state is not failed"),
        },
    )
    def post(self, request: Request, photo_id: int) -> Response:
        photo = get_object_or_404(get_photo_model()._default_manager.all(), id=photo_id)
        if not rescue.retry(tasks.enqueue, [photo_id]):
            raise NotFailed
        row = get_object_or_404(FanOut, photo=photo)
        data = ProgressSerializer(progress.of(row, photo)).data
        return Response(data, status.HTTP_202_ACCEPTED)


class NotFailed(APIException):
    """409"""

    status_code = status.HTTP_409_CONFLICT
    default_detail = _("Only a fan-out whose state is failed can be begun again.")
    default_code = "not_failed"
