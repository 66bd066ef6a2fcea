"""How the community's own API knows who calls."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core import signing
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request


class SignedAddress(BaseAuthentication):
    """`Authorization: Signed <address, signed>`"""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        if kind != "Signed":
            return None
        try:
            email = signing.loads(value)
        except signing.BadSignature as error:
            raise AuthenticationFailed from error
        return get_user_model()._default_manager.get(email=email), None

    def authenticate_header(self, request: Request) -> str:
        return "Signed"
