"""Settings, checks, migrations, health, schema, admin: what a site meets before its first upload."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.test import override_settings

from mydjangoapp import graph, likes, uploads
from mydjangoapp.conf import as_markdown, conf, declared, from_environ
from mydjangoapp.exceptions import BadSetting
from mydjangoapp.homefeed import keys
from mydjangoapp.models import Block, FanOut, Follow, Like, Photo
from proj.servers import ROOT, free_port


def test_models_and_migrations_agree(db: None) -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_defaults_are_valid_and_explained() -> None:
    for setting in declared():
        assert setting.problem(setting.default) is None, setting.name
        assert setting.why and setting.unit


def test_the_readme_shows_the_settings_as_they_are() -> None:
    assert as_markdown() in (ROOT / "README.md").read_text()


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
    with override_settings(MYDJANGOAPP={"BATCH_SIZE": "x"}), pytest.raises(BadSetting, match="BATCH_SIZE"):
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
    }


def test_readyz_names_what_is_not_there(
    transactional_db: None, redis: Any, client: Any, settings: Any
) -> None:
    settings.MYDJANGOAPP = {"REDIS_URL": f"redis://:secret@127.0.0.1:{free_port()}/0"}
    answer = client.get("/readyz/")
    assert answer.status_code == 503
    assert answer.json()["database"] == "ok"
    assert "REDIS_URL" in answer.json()["redis"]
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
    assert redis.hexists(f"followers-marks:{two.pk}", str(one.pk))
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
