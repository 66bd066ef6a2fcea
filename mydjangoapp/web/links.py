"""Addresses of the app's pages, wherever and under whatever namespaces a site has included them."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

WEB, ACCOUNTS = "mydjangoapp_web", "mydjangoapp_accounts"


class Pages(NamedTuple):
    """Where the pages beside the one that answers a request are: the namespaces of both kinds."""

    web: str
    accounts: str

    def url(self, name: str, *arguments: Any) -> str:
        """The path of a page. `accounts:…` is one of `urls_accounts`, which a site may have left out: then
        it is empty."""
        if not name.startswith("accounts:"):
            return reverse(f"{self.web}:{name}", args=arguments)
        try:
            return reverse(f"{self.accounts}:{name.removeprefix('accounts:')}", args=arguments)
        except NoReverseMatch:
            return ""


def pages_beside(request: HttpRequest) -> Pages:
    """Those that were included together with the page that answers this request."""
    match = request.resolver_match
    if match is None or match.app_names[-1:] not in ([WEB], [ACCOUNTS]):
        return Pages(WEB, ACCOUNTS)
    *outer, own = match.namespaces
    names = {WEB: WEB, ACCOUNTS: ACCOUNTS, match.app_names[-1]: own}
    return Pages(*(":".join([*outer, names[app]]) for app in (WEB, ACCOUNTS)))


def page(request: HttpRequest, name: str, *arguments: Any) -> str:
    """The path of one of them."""
    return pages_beside(request).url(name, *arguments)
