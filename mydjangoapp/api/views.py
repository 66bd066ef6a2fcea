"""The views. Authentication and limits are set here, so that a host site's defaults do not matter."""

from __future__ import annotations

from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.authentication import SessionAuthentication
from rest_framework.authtoken.serializers import AuthTokenSerializer
from rest_framework.authtoken.views import ObtainAuthToken
from rest_framework.exceptions import APIException, PermissionDenied, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission, IsAdminUser, IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from .. import tasks, uploads
from ..exceptions import BadUpload, NotAMember
from ..fanout import progress, rescue
from ..models import FanOut, Photo
from ..photos import images
from .authentication import TokenAuthentication
from .outages import AnswersWhenAway
from .parsers import BoundedFormParser, BoundedJSONParser, BoundedMultiPartParser
from .permissions import IsAuthorOrStaff
from .serializers import (
    ProgressSerializer,
    TokenSerializer,
    UploadedPhotoSerializer,
    UploadHeaders,
    UploadSerializer,
)
from .throttles import TokenNameThrottle, TokenThrottle, UploadThrottle


class View(AnswersWhenAway):
    """JSON out, logged in by token or session. The token comes first, so that a refusal is a 401."""

    authentication_classes = (TokenAuthentication, SessionAuthentication)
    permission_classes: tuple[type[BasePermission], ...] = (IsAuthenticated,)
    parser_classes: tuple[type[BaseParser], ...] = (BoundedJSONParser,)
    renderer_classes = (JSONRenderer,)


class TokenView(AnswersWhenAway, ObtainAuthToken):
    """Username and password for a token, to be sent as `Authorization: Token …`."""

    authentication_classes = ()  # or a password could be tried by Basic, past the throttle
    parser_classes = (BoundedJSONParser, BoundedFormParser)
    renderer_classes = (JSONRenderer,)
    throttle_classes = (TokenThrottle, TokenNameThrottle)

    @extend_schema(request=AuthTokenSerializer, responses=TokenSerializer, auth=[])
    def post(self, request: Request, *args: object, **kwargs: object) -> Response:
        return super().post(request, *args, **kwargs)


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
        body = UploadSerializer(data=request.data, context=context)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        try:
            photo = uploads.publish(
                given.get("user_id", request.user),
                description=given["description"],
                photo_url=given.get("photo_url", ""),
                image=images.clean(given["image"]) if "image" in given else None,
                circle=given.get("circle_id"),
                idempotency_key=key,
                caller=request.user,
            )
        except NotAMember as error:
            raise PermissionDenied(str(error)) from error
        except BadUpload as error:
            raise ValidationError({error.field: [error.reason]}) from error
        return Response(UploadedPhotoSerializer(photo, context=context).data, status.HTTP_201_CREATED)


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
        photo = get_object_or_404(Photo, id=photo_id)
        self.check_object_permissions(request, photo)
        row = get_object_or_404(FanOut, photo=photo)
        return Response(ProgressSerializer(progress.of(row, photo.created_at)).data)


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
        photo = get_object_or_404(Photo, id=photo_id)
        if not rescue.retry(tasks.enqueue, [photo_id]):
            raise NotFailed
        row = get_object_or_404(FanOut, photo=photo)
        data = ProgressSerializer(progress.of(row, photo.created_at)).data
        return Response(data, status.HTTP_202_ACCEPTED)


class NotFailed(APIException):
    """409"""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "Only a fan-out whose state is failed can be begun again."
    default_code = "not_failed"
