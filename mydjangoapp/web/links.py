"""Addresses of the app's pages, wherever and under whatever namespaces a site has included them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

WEB, ACCOUNTS = "mydjangoapp_web", "mydjangoapp_accounts"


def page(request: HttpRequest, name: str, *arguments: Any) -> str:
    """The path of a page beside the one that answers this request. `accounts:…` is one of `urls_accounts`,
    which a site may have left out: then it is empty."""
    is_of_accounts = name.startswith("accounts:")
    app, name = (ACCOUNTS, name.removeprefix("accounts:")) if is_of_accounts else (WEB, name)
    match = request.resolver_match
    outer: list[str] = []
    if match is not None and match.app_names[-1:] in ([WEB], [ACCOUNTS]):
        outer = match.namespaces[:-1]
        if match.app_names[-1] == app:
            app = match.namespaces[-1]
    try:
        return reverse(":".join([*outer, app, name]), args=arguments)
    except NoReverseMatch:
        if is_of_accounts:
            return ""
        raise
