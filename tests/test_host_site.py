"""What is different on a site of somebody else's: see `tests/host/settings.py`. Run with TEST_ON=uuid-users,
and most other tests with it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils.html import escape
from django.utils.translation import override
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from mydjangoapp import graph
from mydjangoapp.homefeed import keys
from tests import servers
from tests.checker import wait_for_end
from tests.feeds import as_json, ids_of, logged_in, paged, publish, truth_of

pytestmark = [
    pytest.mark.usefixtures("redis", "transactional_db"),
    pytest.mark.skipif(not servers.ON & servers.HOSTS.keys(), reason="this run is on the site of proj"),
]


def test_users_of_any_key_get_what_they_follow(make_users: Any, worker: Any, redis: Any) -> None:
    """From the upload over the worker to the feed and verify."""
    me, author = make_users(2)
    graph.follow(str(me.pk), author.pk)
    [photo] = publish(author)
    assert wait_for_end(photo, seconds=30) == "done"
    assert redis.lrange(f"followers:{author.pk}", 0, -1) == [str(me.pk).encode()]
    assert redis.lrange(f"homefeed:{me.pk}", 0, -1) == [str(photo).encode()]
    assert ids_of(logged_in(me).get("/feed/")) == [photo]
    call_command("verify_feeds")
    graph.unfollow(me.pk, str(author.pk))
    assert ids_of(logged_in(me).get("/feed/")) == []


def test_the_feed_answers_under_a_nested_namespace_and_in_every_language(make_users: Any) -> None:
    me, author = make_users(2)
    graph.follow(me, author)
    publish(author, 5)
    assert reverse("shop:mydjangoapp:feed") == "/feed/"
    assert paged(logged_in(me), 2) == truth_of(me)
    page = logged_in(me).get("/de/feed/?limit=2").json()
    assert page["next"].startswith("http://testserver/de/feed/?limit=2")
    assert len(logged_in(me).get(page["next"]).json()["results"]) == 2


def test_pages_lead_to_each_other_wherever_they_are(make_users: Any) -> None:
    me, author = make_users(2)
    graph.follow(me, author)
    [photo] = publish(author)
    client = Client()
    client.force_login(me)
    page = client.get("/de/").content.decode()
    assert f'href="/de/p/{photo}/"' in page
    with override("de"):
        profile = reverse("shop:mydjangoapp_web:profile", args=[author.pk])
    assert f'href="{escape(profile)}"' in page
    assert f'formaction="/de/p/{photo}/like/"' in page
    answer = client.post(f"/de/p/{photo}/like/", {"on": "1"})
    assert answer.headers["Location"] == "/de/"
    assert client.get(profile).status_code == client.get("/de/settings/").status_code == 200
    assert 'action="/de/logout/"' in client.get("/de/settings/").content.decode()


def test_users_without_a_name_that_others_see_are_a_warning(settings: Any) -> None:
    assert get_user_model().USERNAME_FIELD != "username"
    assert "mydjangoapp.W002" in {message.id for message in run_checks(tags=["mydjangoapp"])}
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "AUTHOR_SERIALIZER": "tests.hooks.by_last_digit"}
    assert "mydjangoapp.W002" not in {message.id for message in run_checks(tags=["mydjangoapp"])}


def test_a_hosts_defaults_for_rest_framework_change_nothing(make_users: Any) -> None:
    """Pages of one, HTML, versions, forms, staff only, once a day: all of that is for the host's own
    views."""
    [me] = make_users(1)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {Token.objects.create(user=me).key}")
    photo = {"description": "x", "photo_url": "https://example.com/x.jpg"}
    for _ in range(3):
        assert client.post("/upload/", photo, format="json").status_code == 201
    answer = client.get("/feed/", headers={"accept": "text/html, */*; version=1.0"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert len(answer.json()["results"]) == 3


def test_nobody_sees_an_address_that_somebody_logs_in_by(make_users: Any) -> None:
    me, author = make_users(2)
    graph.follow(me, author)
    publish(author)
    client = logged_in(me)
    pages = ["/feed/", f"/users/{author.pk}/", f"/users/{author.pk}/photos/", f"/users/{me.pk}/following/"]
    for page in pages:
        said = client.get(page.replace("%", "%25")).content.decode()
        assert str(author.pk)[:5] in said
        assert "@" not in said, page
    author.first_name = "Ada"
    author.save()
    [entry] = client.get("/feed/").json()["results"]
    assert entry["author"] == {"id": as_json(author.pk), "username": "", "name": "Ada"}


def test_a_token_for_an_address_and_its_password(make_users: Any, client: Any) -> None:
    user = get_user_model().objects.create_user("ada@example.com", "right horse")
    body = {"username": "ada@example.com", "password": "right horse"}
    answer = client.post("/token/", body, content_type="application/json")
    assert answer.status_code == 200
    assert Token.objects.get(user=user).key == answer.json()["token"]


def test_a_deleted_user_leaves_nothing_in_redis(make_users: Any, redis: Any) -> None:
    me, author = make_users(2)
    graph.follow(me, author)
    publish(author)
    logged_in(me).get("/feed/")
    assert redis.exists(keys.homefeed(me.pk), keys.followers(author.pk)) == 2
    for user in (me, author):
        user.delete()
    assert [key for key in redis.keys("*") if str(me.pk)[:20].encode() in key and b"mark" not in key] == []
