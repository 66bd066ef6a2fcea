"""`manage.py check`: wrong settings are errors, a Redis that is set up to lose feeds is a warning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register

from .conf import configured, declared
from .exceptions import BadSetting, FeedError
from .homefeed.connection import eviction_policy


@register("mydjangoapp")
def settings_are_right(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """E001: the dict is none. E002: a value is wrong. E003: nobody knows that name."""
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
