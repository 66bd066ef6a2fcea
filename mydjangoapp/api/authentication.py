"""Who sends a request."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router
from rest_framework import authentication
from rest_framework.authtoken.models import Token

from ..connections.compiled import CompiledQuery


class TokenAuthentication(authentication.TokenAuthentication):
    """REST framework's own, but its query is compiled once: every request asks it."""

    def authenticate_credentials(self, key: str) -> tuple[Any, Any]:
        found = _token_and_user(key)
        if found is None or not found[0].is_active:
            return super().authenticate_credentials(key)  # which says what is wrong
        return found


def _token_and_user(key: str) -> tuple[Any, Token] | None:
    alias = router.db_for_read(Token)
    columns = _query().first(alias, key)
    if columns is None:
        return None
    names = _names(Token)
    token = Token.from_db(alias, names, columns[: len(names)])
    user = get_user_model().from_db(alias, _names(get_user_model()), columns[len(names) :])
    token.user = user
    return user, token


def _names(model: Any) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


@cache
def _query() -> CompiledQuery:
    columns = [*_names(Token), *(f"user__{name}" for name in _names(get_user_model()))]
    return CompiledQuery(lambda alias: Token.objects.using(alias).filter(key="-").values_list(*columns))
