"""Log-in by token, whose query is compiled once."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework import authentication as plain
from rest_framework.authtoken.models import Token
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.test import APIClient

from mydjangoapp.api.authentication import TokenAuthentication

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")


@pytest.fixture
def token(pair: tuple[Any, Any]) -> Token:
    return Token.objects.create(user=pair[0])


def test_the_same_user_and_token_as_rest_frameworks_own_by_one_query(token: Token) -> None:
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            user, found = TokenAuthentication().authenticate_credentials(token.key)
        assert len(queries) == 1
    expected_user, expected = plain.TokenAuthentication().authenticate_credentials(token.key)
    for one, other in ((user, expected_user), (found, expected)):
        assert type(one) is type(other)
        assert one._state.db == other._state.db and not one._state.adding
        names = [field.attname for field in one._meta.concrete_fields]
        assert [getattr(one, name) for name in names] == [getattr(other, name) for name in names]
    assert found.user is user
    user.first_name = "Ada"
    user.save()
    assert get_user_model().objects.get(pk=user.pk).first_name == "Ada"


@pytest.mark.parametrize("key", ["", "-", "no such token", "0" * 40, "%s"])
def test_a_wrong_token_is_refused(token: Token, key: str) -> None:
    for one in (TokenAuthentication(), plain.TokenAuthentication()):
        with pytest.raises(AuthenticationFailed):
            one.authenticate_credentials(key)


def test_a_token_that_is_gone_and_a_user_who_is_inactive_are_refused_at_once(token: Token) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token.key}")
    assert client.get("/feed/").status_code == 200
    get_user_model().objects.filter(pk=token.user_id).update(is_active=False)
    answer = client.get("/feed/")
    assert (answer.status_code, answer.json()["detail"]) == (401, "User inactive or deleted.")
    get_user_model().objects.filter(pk=token.user_id).update(is_active=True)
    assert client.get("/feed/").status_code == 200
    token.delete()
    answer = client.get("/feed/")
    assert (answer.status_code, answer.json()["detail"]) == (401, "Invalid token.")
