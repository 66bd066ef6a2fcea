"""Limits on how often; their rates are the app's own settings, so a host site needs none of DRF's."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from django.core.cache.backends.locmem import LocMemCache
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import AnonRateThrottle, BaseThrottle, SimpleRateThrottle, UserRateThrottle
from rest_framework.views import APIView

from ..conf import conf
from ..photos import row_cache

logger = logging.getLogger(__name__)


IN_THIS_PROCESS = LocMemCache("mydjangoapp-throttles", {"max_entries": 100_000})


class _CountsWithoutCache(SimpleRateThrottle):
    """Without the shared cache each process counts for itself: no request waits for the cache, and
    there is still a limit."""

    def get_cache_key(self, request: Request, view: APIView) -> str | None:
        key = super().get_cache_key(request, view)
        return key and quote(key, safe="")  # user ids may be any text, and memcached takes no spaces

    def allow_request(self, request: Request, view: APIView) -> bool:
        if row_cache.breaker.allows():
            try:
                with row_cache.watched():
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


def address_of(request: Any) -> str | None:
    """The address that a request is counted by: the peer's, or for IPv6 its /64 network, as a client with
    one of its addresses has all of them.

    What a client says of itself in X-Forwarded-For counts only where REST framework's NUM_PROXIES says how
    many proxies have added to it. None for a request that comes by no network.
    """
    if api_settings.NUM_PROXIES is None:
        said = str(request.META.get("REMOTE_ADDR"))
    else:
        said = str(BaseThrottle().get_ident(request))
    try:
        address = ipaddress.ip_address(_without_port(said.strip()))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)


def _without_port(said: str) -> str:
    """Some proxies write `192.0.2.1:5678` or `[2001:db8::1]:5678`."""
    if said.startswith("["):
        return said[1:].partition("]")[0]
    return said.partition(":")[0] if said.count(":") == 1 else said


class TokenThrottle(_CountsWithoutCache, AnonRateThrottle):
    """`TOKEN_RATE`, per address."""

    scope = "token"

    def get_ident(self, request: Request) -> str:
        return str(address_of(request))

    def get_cache_key(self, request: Request, view: APIView) -> str | None:
        # Nobody shares a count because no address is known; the name has its own limit.
        return super().get_cache_key(request, view) if address_of(request) else None

    def get_rate(self) -> str | None:
        return conf.TOKEN_RATE


class TokenNameThrottle(_CountsWithoutCache, AnonRateThrottle):
    """`TOKEN_NAME_RATE`, per name: a password cannot be tried from many addresses either."""

    scope = "token-name"

    def get_ident(self, request: Request) -> str:
        data = request.data if isinstance(request.data, Mapping) else {}
        return hashlib.sha256(str(data.get("username", "")).strip().casefold().encode()).hexdigest()

    def get_rate(self) -> str | None:
        return conf.TOKEN_NAME_RATE
