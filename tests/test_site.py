"""Settings, checks, migrations, health, schema, admin: what a site meets before its first upload."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.core.checks import ERROR, run_checks
from django.core.management import call_command
from django.test import override_settings

from devtools.servers import ROOT, free_port
from mydjangoapp import graph, likes, uploads
from mydjangoapp.checks.settings import time_zones_are_used
from mydjangoapp.circles import members
from mydjangoapp.conf import as_markdown, conf, declared, from_environ
from mydjangoapp.events import publish_many
from mydjangoapp.events.registry import for_topic
from mydjangoapp.exceptions import BadSetting
from mydjangoapp.homefeed import keys
from mydjangoapp.models import Block, Circle, FanOut, Follow, Like, Mute, Photo, UploadKey
from tests import servers


def test_models_and_migrations_agree(db: None) -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_defaults_are_valid_and_explained() -> None:
    for setting in declared():
        assert setting.problem(setting.default) is None, setting.name
        assert setting.why and setting.unit


def test_the_readme_shows_the_settings_as_they_are() -> None:
    assert as_markdown() in (ROOT / "docs/SETTINGS.md").read_text()


def test_values_come_from_the_environment_by_name_and_type() -> None:
    found = from_environ({"MYDJANGOAPP_BATCH_SIZE": "1000", "REDIS_URL": "redis://r:1/0", "OTHER": "x"})
    assert found == {"BATCH_SIZE": 1000, "REDIS_URL": "redis://r:1/0"}
    assert from_environ({"MYDJANGOAPP_BATCH_SIZE": "many"}) == {"BATCH_SIZE": "many"}, "for check to name"


@pytest.mark.parametrize(
    ("values", "id_", "words"),
    [
        ([], "E001", "must be a dict"),
        ({"BATCH_SIZE": "many"}, "E002", "whole number of followers"),
        ({"BATCH_SIZE": 0}, "E002", "between 1 and"),
        ({"BATCH_SIZE": True}, "E002", "whole number"),
        ({"REDIS_URL": "http://x"}, "E002", "redis://"),
        ({"KEY_PREFIX": "a b"}, "E002", "without spaces"),
        ({"LEASE_SECONDS": -1}, "E002", "above 0"),
        ({"UPLOAD_RATE": "often"}, "E002", "120/min"),
        ({"BATHC_SIZE": 5}, "E003", "is not a setting"),
    ],
)
def test_check_names_every_wrong_setting(values: Any, id_: str, words: str) -> None:
    with override_settings(MYDJANGOAPP=values):
        [message] = [m for m in run_checks(tags=["mydjangoapp"]) if m.is_serious()]
    assert message.id == f"mydjangoapp.{id_}"
    assert words in message.msg


def test_a_wrong_setting_is_an_error_when_it_is_used() -> None:
    for value in ("x", None):
        wrong = override_settings(MYDJANGOAPP={"BATCH_SIZE": value})
        with wrong, pytest.raises(BadSetting, match="BATCH_SIZE"):
            assert conf.BATCH_SIZE


def test_a_redis_that_evicts_is_a_warning_in_check_and_readyz(db: None, redis: Any, client: Any) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        [message] = run_checks(tags=["mydjangoapp"])
        assert message.id == "mydjangoapp.W001"
        answer = client.get("/readyz/")
        assert answer.status_code == 200
        assert "allkeys-lru" in answer.json()["redis"]
    finally:
        redis.config_set("maxmemory-policy", "noeviction")
    assert run_checks(tags=["mydjangoapp"]) == []


def test_a_redis_that_writes_nothing_down_is_named_by_readyz(db: None, redis: Any, client: Any) -> None:
    redis.config_set("appendonly", "no")
    try:
        assert "appendonly is no" in client.get("/readyz/").json()["redis"]
    finally:
        redis.config_set("appendonly", "yes")
    assert client.get("/readyz/").json()["redis"] == "ok"


def test_health_says_what_is_there(transactional_db: None, redis: Any, client: Any) -> None:
    assert client.get("/livez/").json() == {"live": True}
    answer = client.get("/readyz/")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "database": "ok",
        "redis": "ok",
        "broker": "ok",
        "fanouts": "ok",
        "events": "ok",
    }
    assert client.get("/readyz/?strict").status_code == 200


def test_a_site_without_time_zones_is_refused(settings: Any) -> None:
    """No fan-out would ever end there."""
    assert time_zones_are_used(None) == []
    settings.USE_TZ = False
    [problem] = time_zones_are_used(None)
    assert (problem.id, problem.level) == ("mydjangoapp.E005", ERROR)


def test_readyz_names_channels_that_nobody_serves_and_dead_letters(
    transactional_db: None, redis: Any, client: Any, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_BEHIND": 3}
    transport = for_topic("photos")
    assert transport is not None
    consumer = transport.consumer("photos", "search", timeout=30)
    publish_many("photos", "photo.published", [{"id": n} for n in range(5)])
    said = "search of photos is 5 messages behind: run its worker, or unsubscribe it."
    assert said in client.get("/readyz/").json()["events"]
    consumer.bury(consumer.take(1, 1)[0], "broken")
    assert "search of photos has 1 dead letters" in client.get("/readyz/").json()["events"]
    assert client.get("/readyz/").status_code == 200
    assert client.get("/readyz/?strict").status_code == 503


def test_readyz_names_what_is_not_there(
    transactional_db: None, redis: Any, client: Any, settings: Any
) -> None:
    settings.MYDJANGOAPP = {"REDIS_URL": f"redis://:secret@127.0.0.1:{free_port()}/0"}
    answer = client.get("/readyz/")
    assert (answer.status_code, answer.json()["ready"]) == (200, True), "the site works, from SQL"
    assert answer.json()["database"] == "ok"
    assert "REDIS_URL" in answer.json()["redis"]
    strict = client.get("/readyz/?strict")
    assert (strict.status_code, strict.json()["ready"]) == (503, False)
    assert "secret" not in answer.content.decode()


def test_the_schema_is_valid_and_complete(client: Any, tmp_path: Path) -> None:
    file = tmp_path / "schema.yaml"
    call_command("spectacular", file=str(file), validate=True, fail_on_warn=True)
    schema = file.read_text()
    for path in ("/upload/", "/token/", "/photos/{photo_id}/fanout/"):
        assert path in schema
    assert client.get("/schema/").status_code == client.get("/docs/").status_code == 200


def test_importing_the_app_connects_to_nothing() -> None:
    code = (
        "import socket; socket.socket.connect = None; import django; django.setup(); import "
        "mydjangoapp.urls, mydjangoapp.tasks, mydjangoapp.graph, mydjangoapp.uploads, proj.urls"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_admin_shows_every_table_and_changes_through_the_app(
    transactional_db: None, redis: Any, admin_client: Any, make_users: Any
) -> None:
    one, two = make_users(2)
    prefix = "/admin/mydjangoapp/"
    photo = {"user": one.pk, "description": "from admin", "photo_url": "https://example.com/x.jpg"}
    assert admin_client.post(f"{prefix}photo/add/", photo).status_code == 302
    assert FanOut.objects.get().photo.description == "from admin"
    assert (
        admin_client.post(f"{prefix}follow/add/", {"follower": one.pk, "followee": two.pk}).status_code == 302
    )
    assert redis.lrange(f"followers:{two.pk}", 0, -1) == [str(one.pk).encode()]
    follow, saved = Follow.objects.get(), Photo.objects.get()
    assert admin_client.post(f"{prefix}follow/{follow.pk}/delete/", {"post": "yes"}).status_code == 302
    assert redis.hexists(keys.marks(two.pk), str(one.pk))
    for page in ("photo/", "follow/", "fanout/", "uploadkey/", f"photo/{saved.pk}/change/"):
        assert admin_client.get(prefix + page).status_code == 200, page
    assert admin_client.get(f"{prefix}fanout/{FanOut.objects.get().pk}/change/").status_code == 200
    saved.delete()
    assert admin_client.get(f"{prefix}fanout/{FanOut.objects.get().pk}/change/").status_code == 200


def test_relations_in_the_admin_go_through_the_graph(
    transactional_db: None, redis: Any, admin_client: Any, make_users: Any
) -> None:
    one, two = make_users(2)
    prefix = "/admin/mydjangoapp/"
    graph.follow(one, two)
    redis.set(keys.relations(one.pk), "read before")
    for kind, pair in (("mute", ("muter", "muted")), ("block", ("blocker", "blocked"))):
        add = f"{prefix}{kind}/add/"
        assert admin_client.post(add, dict.fromkeys(pair, one.pk)).status_code == 200, "two users are needed"
        assert admin_client.post(add, {pair[0]: one.pk, pair[1]: two.pk}).status_code == 302
        assert not redis.exists(keys.relations(one.pk)), "readers are told"
        assert admin_client.get(f"{prefix}{kind}/").status_code == 200
    assert not Follow.objects.exists(), "a block ends following"
    refused = admin_client.post(f"{prefix}follow/add/", {"follower": two.pk, "followee": one.pk})
    assert b"blocks the other" in refused.content
    block = Block.objects.get()
    assert admin_client.post(f"{prefix}block/{block.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Block.objects.exists()
    photo = uploads.publish(two, description="d", photo_url="https://example.com/p.jpg")
    likes.like(one, photo.pk)
    like = Like.objects.get()
    assert admin_client.get(f"{prefix}like/").status_code == 200
    assert admin_client.post(f"{prefix}like/{like.pk}/delete/", {"post": "yes"}).status_code == 302
    photo.refresh_from_db()
    assert photo.like_count == 0


def test_a_site_with_atomic_requests_answers_503_while_the_database_is_away(tmp_path: Path) -> None:
    """And its liveness probe 200: Django opens no transaction before the view can say that."""
    code = (
        "import django, json; django.setup()\n"
        "from django.test import Client\n"
        "client = Client(raise_request_exception=False, HTTP_HOST='localhost')\n"
        "login = {'username': 'x', 'password': 'x'}\n"
        "answers = [client.get('/livez/'), client.post('/token/', login, content_type='application/json'),\n"
        "           client.get('/feed/', headers={'Authorization': 'Token x'})]\n"
        "print(json.dumps([[one.status_code, one.json()] for one in answers]))\n"
    )
    environ = {
        **servers.ENVIRON,
        "DJANGO_SETTINGS_MODULE": "tests.host.atomic",
        "DATABASE_URL": f"sqlite:///{tmp_path}",  # a directory: it cannot be opened
        "PATH": os.environ["PATH"],
    }
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True)
    away = [503, {"detail": "The database does not answer. Try again in a moment."}]
    assert json.loads(ran.stdout or "null") == [[200, {"live": True}], away, away], ran.stderr


def test_the_ledger_can_be_searched_for_any_text(admin_client: Any, author: Any, redis: Any) -> None:
    photo = uploads.publish(author, description="x", photo_url="https://example.com/x.jpg")
    page = "/admin/mydjangoapp/fanout/"
    found = f"{page}{FanOut.objects.get(photo=photo).pk}/"
    assert found in admin_client.get(f"{page}?q={photo.pk}").content.decode()
    for text in ("abc", "' OR 1=1", "9" * 40, "²", "-1", "%"):
        answer = admin_client.get(page, {"q": text})
        assert (answer.status_code, found in answer.content.decode()) == (200, False), text


def test_every_admin_page_opens_searches_filters_and_saves(
    admin_client: Any, author: Any, make_users: Any, redis: Any
) -> None:
    [other] = make_users(1)
    graph.follow(author, other)
    graph.mute(author, other)
    circle = members.create(author, name="Cats")
    photo = uploads.publish(
        author, description="x", photo_url="https://example.com/x.jpg", circle=circle, idempotency_key="k"
    )
    likes.like(other, photo.pk)
    third, fourth = make_users(2)
    graph.block(third, fourth)
    rows = [Photo, Follow, FanOut, UploadKey, Mute, Block, Circle, Like]
    ours = [model for model in admin.site._registry if model._meta.app_label == "mydjangoapp"]
    assert {model.__name__ for model in ours} == {model.__name__ for model in rows}
    for model in ours:
        page = f"/admin/mydjangoapp/{model._meta.model_name}/"
        row = model._default_manager.get()
        for url in (
            page,
            f"{page}?q=abc",
            f"{page}?q=7",
            f"{page}?state__exact=done",
            f"{page}{row.pk}/change/",
        ):
            assert admin_client.get(url, follow=True).status_code == 200, url
        assert admin_client.get(f"{page}{row.pk}/delete/").status_code in (200, 403), page
        assert admin_client.get(f"{page}add/").status_code in (200, 403), page
    changed = {"description": "y", "photo_url": photo.photo_url, "user": author.pk, "circle": circle.pk}
    saved = admin_client.post(f"/admin/mydjangoapp/photo/{photo.pk}/change/", changed)
    assert (saved.status_code, Photo.objects.get().description) == (302, "y")
    named = {"name": "Dogs", "description": ""}
    inline = {f"memberships-{name}": "0" for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
    saved = admin_client.post(f"/admin/mydjangoapp/circle/{circle.pk}/change/", {**named, **inline})
    assert (saved.status_code, Circle.objects.get().name) == (302, "Dogs")
    added = admin_client.post("/admin/mydjangoapp/block/add/", {"blocker": author.pk, "blocked": other.pk})
    assert added.status_code == 302
    assert not Follow.objects.exists(), "made and ended through graph"
    for model in (Photo, Mute, Block, Like, Circle, UploadKey):
        for row in model._default_manager.all():
            url = f"/admin/mydjangoapp/{model._meta.model_name}/{row.pk}/delete/"
            assert admin_client.post(url, {"post": "yes"}).status_code == 302, url
        assert not model._default_manager.exists()
