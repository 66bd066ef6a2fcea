"""What the site has to set up around the app: Celery, beat, tokens, a place for images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from celery import current_app
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.files.storage import FileSystemStorage

from ..celery_defaults import SCHEDULE
from ..conf import conf
from ..exceptions import BadSetting
from ..models import get_photo_model
from .urls import includes

SCHEDULES_ELSEWHERE = "django_celery_beat"


@register("mydjangoapp")
def celery_is_set_up(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """W006: no Celery app is known. W007: it has not got the defaults. W008: beat sends too little."""
    if current_app.main == "default":
        return [
            Warning(
                "No Celery app is loaded: photos are delivered only when the rescue finds them.",
                hint="Import it in the __init__ beside the settings: from .celery import app as celery_app",
                id="mydjangoapp.W006",
            )
        ]
    messages: list[CheckMessage] = []
    options = current_app.conf.broker_transport_options or {}
    is_redis = urlsplit(str(current_app.conf.broker_url or "")).scheme.startswith("redis")
    if is_redis and "socket_timeout" not in options:
        messages.append(
            Warning(
                "Celery has no time-outs for its broker: one that swallows messages stops a worker for ever.",
                hint="Call mydjangoapp.celery_defaults.use(app) where the Celery app is made.",
                id="mydjangoapp.W007",
            )
        )
    scheduled = {entry["task"] for entry in current_app.conf.beat_schedule.values()}
    missing = sorted(SCHEDULE.keys() - scheduled)
    if missing and not apps.is_installed(SCHEDULES_ELSEWHERE):
        messages.append(
            Warning(
                f"Celery beat does not send {', '.join(missing)}: what a killed worker had in hand waits.",
                hint="Call mydjangoapp.celery_defaults.use(app), or add them to the schedule.",
                id="mydjangoapp.W008",
            )
        )
    return messages


@register("mydjangoapp")
def tokens_are_installed(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """E008: the API looks for tokens that have no table."""
    try:
        paths = conf.AUTHENTICATION_CLASSES or ()
    except BadSetting:
        return []  # E002 says so
    if apps.is_installed("rest_framework.authtoken") or not includes("mydjangoapp"):
        return []
    if not any(path.endswith(".TokenAuthentication") for path in paths):
        return []
    return [
        Error(
            "The API logs in by token, and rest_framework.authtoken is not installed.",
            hint="Add it to INSTALLED_APPS, or name how the site logs in in "
            "MYDJANGOAPP['AUTHENTICATION_CLASSES'].",
            id="mydjangoapp.E008",
        )
    ]


@register("mydjangoapp")
def pages_have_what_they_need(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """E014: the pages' templates would fail."""
    if not includes("mydjangoapp_web"):
        return []
    needed = (
        "django_htmx",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
    )
    missing = [app for app in needed if not apps.is_installed(app)]
    if not missing:
        return []
    return [
        Error(
            f"The pages of mydjangoapp.urls_web need {', '.join(missing)}.",
            hint="Add it to INSTALLED_APPS (see docs/PAGES.md), or leave urls_web out.",
            id="mydjangoapp.E014",
        )
    ]


@register("mydjangoapp")
def images_have_a_place(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """W009: uploaded images would land in the working directory, under no URL."""
    model = get_photo_model()
    file_field = getattr(model, "FILE_FIELD", "")
    if not file_field or not includes("mydjangoapp"):
        return []
    storage = model._meta.get_field(file_field).storage
    if not isinstance(storage, FileSystemStorage) or (
        settings.MEDIA_ROOT and settings.MEDIA_URL not in ("", "/")
    ):
        return []
    return [
        Warning(
            "Images are uploaded, and MEDIA_ROOT or MEDIA_URL is not set: nobody could see them.",
            hint="Set MEDIA_ROOT and MEDIA_URL and serve them, or set STORAGES['default'].",
            id="mydjangoapp.W009",
        )
    ]
