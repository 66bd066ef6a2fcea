"""Limits on how often; their rates are the app's own settings, so a host site needs none of DRF's."""

from __future__ import annotations

from rest_framework.throttling import AnonRateThrottle, UserRateThrottle

from ..conf import conf


class UploadThrottle(UserRateThrottle):
    """`UPLOAD_RATE`, per user."""

    scope = "upload"

    def get_rate(self) -> str | None:
        return conf.UPLOAD_RATE


class TokenThrottle(AnonRateThrottle):
    """`TOKEN_RATE`, per address."""

    scope = "token"

    def get_rate(self) -> str | None:
        return conf.TOKEN_RATE
