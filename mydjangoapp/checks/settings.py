"""The `MYDJANGOAPP` dict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from ..conf import configured, declared, imported_any
from ..exceptions import BadSetting


@register("mydjangoapp")
def settings_are_right(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """E001: the setting is not a dict. E002: a value is wrong. E003: there is no setting of that name.
    E006: what it names cannot be imported."""
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
        else:
            messages += _imports(name)
    return messages


def _imports(name: str) -> list[CheckMessage]:
    try:
        imported_any(name)
    except BadSetting as error:
        return [Error(str(error), id="mydjangoapp.E006")]
    return []


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
