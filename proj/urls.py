"""The app at the root, Django's admin, the OpenAPI schema and its browsable form."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path

from .media import media

PARTS = ("urls", "urls_token", "urls_ops", "urls_web", "urls_docs")

urlpatterns: list[Any] = [
    path("admin/", admin.site.urls),
    path("accounts/", include("mydjangoapp.urls_accounts")),
    *(path("", include(f"mydjangoapp.{part}")) for part in PARTS),
]

if settings.SERVE_MEDIA:
    urlpatterns.append(re_path(r"^media/(?P<path>.*)$", media, name="media"))
