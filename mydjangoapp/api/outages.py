"""What a caller is told while a server that the request needs is away."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from django.db import connections, transaction
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.metadata import SimpleMetadata
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from ..exceptions import DATABASE_AWAY, FeedError

logger = logging.getLogger(__name__)


AWAY = "The database does not answer. Try again in a moment."


class Unavailable(APIException):
    """503: ask again in some seconds, nothing is half done."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"
    wait = 5  # seconds, sent as Retry-After


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


def answering_when_away(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The same view; where the site asks for it (ATOMIC_REQUESTS), with a transaction round the request.

    Django would open that before the view is called, and answer an HTML page of status 500 when it cannot.
    """

    @functools.wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            with ExitStack() as stack:
                for connection in connections.all():
                    if connection.settings_dict["ATOMIC_REQUESTS"]:
                        stack.enter_context(transaction.atomic(using=connection.alias))
                return view(request, *args, **kwargs)
        except DATABASE_AWAY as error:
            logger.error("503, because of the database: %s", error)
            headers = {"Retry-After": str(Unavailable.wait)}
            return JsonResponse({"detail": AWAY}, status=Unavailable.status_code, headers=headers)

    return without_transaction(answer)


def without_transaction(view: Callable[..., Any]) -> Callable[..., Any]:
    """The same view, which Django calls without a transaction, whatever the site asks for."""
    for alias in connections:
        view = transaction.non_atomic_requests(alias)(view)
    return view
