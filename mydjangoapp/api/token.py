"""`POST /token/`: for sites that let people log in by password alone."""

from __future__ import annotations

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema
from rest_framework.authtoken.serializers import AuthTokenSerializer
from rest_framework.authtoken.views import ObtainAuthToken
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from .outages import AnswersWhenAway
from .parsers import BoundedFormParser, BoundedJSONParser
from .serializers import TokenSerializer
from .throttles import TokenNameThrottle, TokenThrottle


class TokenView(AnswersWhenAway, ObtainAuthToken):
    """Username and password for a token, to be sent as `Authorization: Token …`."""

    schema = AutoSchema()
    authentication_classes = ()  # or a password could be tried by Basic, past the throttle
    parser_classes = (BoundedJSONParser, BoundedFormParser)
    renderer_classes = (JSONRenderer,)
    throttle_classes = (TokenThrottle, TokenNameThrottle)

    @extend_schema(request=AuthTokenSerializer, responses=TokenSerializer, auth=[])
    def post(self, request: Request, *args: object, **kwargs: object) -> Response:
        return super().post(request, *args, **kwargs)
