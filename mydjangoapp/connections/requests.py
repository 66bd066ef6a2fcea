"""Requests while the database is away."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from django.db import connections, transaction
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern
from django.utils.translation import gettext_lazy as _

from ..exceptions import DATABASE_AWAY

logger = logging.getLogger(__name__)

AWAY = _("The database does not answer. Try again in a moment.")
RETRY_AFTER = 5  # seconds


def with_views(wrap: Callable[..., Any], urlpatterns: Sequence[URLPattern]) -> list[URLPattern]:
    """The same patterns, each view wrapped."""
    for pattern in urlpatterns:
        pattern.callback = wrap(pattern.callback)
    return list(urlpatterns)


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
            headers = {"Retry-After": str(RETRY_AFTER)}
            return JsonResponse({"detail": AWAY}, status=503, headers=headers)

    return without_transaction(answer)


def without_transaction(view: Callable[..., Any]) -> Callable[..., Any]:
    """The same view, which Django calls without a transaction, whatever the site asks for."""
    for alias in connections:
        view = transaction.non_atomic_requests(alias)(view)
    return view
