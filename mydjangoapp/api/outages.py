"""What a caller is told while a server that the request needs is away."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.metadata import SimpleMetadata
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from ..connections.requests import AWAY, RETRY_AFTER
from ..exceptions import DATABASE_AWAY, FeedError

logger = logging.getLogger(__name__)


class Unavailable(APIException):
    """503: ask again in some seconds, nothing is half done."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"
    wait = RETRY_AFTER


class AnswersWhenAway(APIView):
    """A view that answers 503 and a sentence where the database is away; Redis and broker are not
    needed by any. A host site's defaults for REST framework change nothing here."""

    versioning_class = None
    throttle_classes: Sequence[type[BaseThrottle]] = ()
    content_negotiation_class = DefaultContentNegotiation
    metadata_class = SimpleMetadata

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, DATABASE_AWAY):
            logger.error("503, because of the database: %s", exc, exc_info=exc)
            exc = Unavailable(AWAY)
        elif isinstance(exc, FeedError):
            logger.error("503: %s", exc)
            exc = Unavailable(str(exc))
        return super().handle_exception(exc)
