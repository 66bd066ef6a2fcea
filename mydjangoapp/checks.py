"""`manage.py check`: wrong settings are errors, a Redis that is set up to lose feeds is a warning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import ProgrammingError, router
from django.db.models import Max

from .conf import configured, declared
from .exceptions import DATABASE_AWAY, BadSetting, FeedError
from .homefeed.delivery import LARGEST_ID
from .homefeed.feeds_redis import eviction_policy
from .models import get_photo_model


@register("mydjangoapp")
def settings_are_right(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """E001: the setting is not a dict. E002: a value is wrong. E003: there is no setting of that name."""
    try:
        values = configured()
    except BadSetting as error:
        return [Error(str(error), id="mydjangoapp.E001")]
    known = {setting.name: setting for setting in declared()}
    messages: list[CheckMessage] = []
    for name, value in values.items():
        if name not in known:
            hint = f"There are: {', '.join(known)}."
            messages.append(
                Error(f"MYDJANGOAPP[{name!r}] is not a setting.", hint=hint, id="mydjangoapp.E003")
            )
        elif problem := known[name].problem(value):
            messages.append(Error(str(BadSetting(name, problem)), id="mydjangoapp.E002"))
    return messages


@register("mydjangoapp")
def redis_does_not_evict(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """W001: under memory pressure Redis would throw feeds and follower lists away.

    Says nothing if Redis cannot be asked: that is `/readyz/`'s to report, and no reason to hold up
    a migration.
    """
    try:
        policy = eviction_policy()
    except FeedError:
        return []
    if policy in (None, "noeviction"):
        return []
    return [
        Warning(
            f"The feeds' Redis has maxmemory-policy {policy}: it may drop feeds and follower lists.",
            hint="CONFIG SET maxmemory-policy noeviction, and keep caches in another Redis.",
            id="mydjangoapp.W001",
        )
    ]


@register("mydjangoapp")
def time_zones_are_used(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """E005: without time zones the moments that Redis and SQL know cannot be compared."""
    if settings.USE_TZ:
        return []
    return [
        Error(
            "mydjangoapp needs USE_TZ = True: without it no fan-out would ever end.",
            hint="Set USE_TZ = True; Django's documentation says how to move existing data over.",
            id="mydjangoapp.E005",
        )
    ]


@register(Tags.database)
def photo_ids_are_exact(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """E004: a photo has an id that Redis's scripts cannot count with. Part of `migrate` and of
    `check --database default`."""
    photo_model = get_photo_model()
    alias = router.db_for_write(photo_model)
    if alias not in (databases or ()):
        return []
    try:
        highest = photo_model._default_manager.using(alias).aggregate(highest=Max("id"))["highest"]
    except (*DATABASE_AWAY, ProgrammingError):  # also before the first migration
        return []
    if highest is None or highest <= LARGEST_ID:
        return []
    return [
        Error(
            f"Photo {highest} has an id above {LARGEST_ID}, the largest that feeds can hold.",
            hint="Let ids grow from below, one by one: time-based 64-bit ids do not fit.",
            id="mydjangoapp.E004",
        )
    ]
