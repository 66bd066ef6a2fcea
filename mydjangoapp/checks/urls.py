"""Which of the app's URLs a site has included."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.urls import URLResolver, get_resolver


def includes(app_name: str) -> bool:
    """Whether the site has included these URLs somewhere; False for a site without URLs."""
    return bool(getattr(settings, "ROOT_URLCONF", None)) and _is_in(get_resolver(), app_name)


def _is_in(resolver: Any, app_name: str) -> bool:
    return resolver.app_name == app_name or any(
        _is_in(pattern, app_name) for pattern in resolver.url_patterns if isinstance(pattern, URLResolver)
    )
