"""Limits on how often; their rates are the app's own settings, so a host site needs none of DRF's."""

from __future__ import annotations

import logging

from django.core.cache.backends.locmem import LocMemCache
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import AnonRateThrottle, SimpleRateThrottle, UserRateThrottle
from rest_framework.views import APIView

from ..conf import conf
from ..homefeed import cached

logger = logging.getLogger(__name__)


IN_THIS_PROCESS = LocMemCache("mydjangoapp-throttles", {"max_entries": 100_000})


class _CountsWithoutCache(SimpleRateThrottle):
    """Without the cache that counts for all processes each counts for itself: nobody is held up by it, and
    there is a limit all the same."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        if cached.breaker.allows():
            try:
                with cached.watched():
                    return super().allow_request(request, view)
            except Exception as error:  # each cache backend raises its own
                logger.warning("%s is limited per process: the cache does not answer (%s)", self.scope, error)
        self.cache = IN_THIS_PROCESS
        return super().allow_request(request, view)


class UploadThrottle(_CountsWithoutCache, UserRateThrottle):
    """`UPLOAD_RATE`, per user."""

    scope = "upload"

    def get_rate(self) -> str | None:
        return conf.UPLOAD_RATE


class ChangeThrottle(_CountsWithoutCache, UserRateThrottle):
    """`CHANGE_RATE`, per user; reading is free."""

    scope = "change"

    def get_rate(self) -> str | None:
        return conf.CHANGE_RATE

    def allow_request(self, request: Request, view: APIView) -> bool:
        return request.method in SAFE_METHODS or super().allow_request(request, view)


class TokenThrottle(_CountsWithoutCache, AnonRateThrottle):
    """`TOKEN_RATE`, per address."""

    scope = "token"

    def get_ident(self, request: Request) -> str:
        """The peer's address. What a client says of itself in X-Forwarded-For counts only where DRF's
        NUM_PROXIES says how many proxies have added to it."""
        if api_settings.NUM_PROXIES is None:
            return str(request.META.get("REMOTE_ADDR"))
        return super().get_ident(request)

    def get_rate(self) -> str | None:
        return conf.TOKEN_RATE
