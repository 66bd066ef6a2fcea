"""Addresses of the app's own pages."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from rest_framework.request import Request

APP_NAME = "mydjangoapp"


def url_of(request: Request, name: str, *arguments: Any) -> str:
    """The absolute address of one of the app's pages, under the same path prefix and namespaces as
    the page that answers this request."""
    match = request.resolver_match
    is_ours = match is not None and match.app_names[-1:] == [APP_NAME]
    namespace = match.namespace if match is not None and is_ours else APP_NAME
    return str(request.build_absolute_uri(reverse(f"{namespace}:{name}", args=arguments)))
