"""What others see of the site's users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import FieldDoesNotExist
from django.db.models import EmailField

from ..conf import conf
from ..exceptions import BadSetting


@register("mydjangoapp")
def users_have_a_public_name(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """E007: `PUBLIC_NAME` names no field. W002: there is no name to show. W003: it is an e-mail address."""
    user = get_user_model()
    try:
        name, serializer = conf.PUBLIC_NAME, conf.AUTHOR_SERIALIZER
    except BadSetting:
        return []  # E002 says so
    if serializer is not None:
        return []
    if name is None:
        return [] if user.USERNAME_FIELD == "username" else [_without_a_name(user)]
    if name == "pk" or not _has(user, name):
        problem = f"MYDJANGOAPP['PUBLIC_NAME'] is {name!r}, and {user._meta.label} has no such field."
        return [Error(problem, id="mydjangoapp.E007")]
    if name == getattr(user, "EMAIL_FIELD", None) or isinstance(_field(user, name), EmailField):
        return [
            Warning(
                f"MYDJANGOAPP['PUBLIC_NAME'] shows {user._meta.label}.{name}, an e-mail address, to all.",
                hint="Name another field.",
                id="mydjangoapp.W003",
            )
        ]
    return []


def _without_a_name(user: Any) -> Warning:
    return Warning(
        f"{user._meta.label} logs in by {user.USERNAME_FIELD}, which others do not see: as the name of an "
        "author they see what get_full_name() returns, and no username.",
        hint="Name the field that others may see in MYDJANGOAPP['PUBLIC_NAME'], or show what you like by "
        "MYDJANGOAPP['AUTHOR_SERIALIZER'].",
        id="mydjangoapp.W002",
    )


def _has(user: Any, name: str) -> bool:
    return _field(user, name) is not None or isinstance(getattr(user, name, None), property)


def _field(user: Any, name: str) -> Any:
    try:
        return user._meta.get_field(name)
    except FieldDoesNotExist:
        return None
