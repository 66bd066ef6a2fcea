"""The app under a namespace of the site's own, in every language."""

from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.urls import include, path

PARTS = ("urls", "urls_token", "urls_ops", "urls_web", "urls_accounts", "urls_docs")
shop = ([path("", include(f"mydjangoapp.{part}")) for part in PARTS], "shop")

urlpatterns = [
    path("admin/", admin.site.urls),
    *i18n_patterns(path("", include(shop)), prefix_default_language=False),
]
