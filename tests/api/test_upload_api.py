"""`POST /upload/`: what is taken, and that whatever is refused leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission

from devtools.servers import free_port
from mydjangoapp.models import FanOut, Photo, UploadKey
from tests.checker import nothing_was_saved
from tests.feeds import as_json

if TYPE_CHECKING:
    from rest_framework.test import APIClient

GOOD: dict[str, Any] = {"description": "a photo", "photo_url": "https://example.com/photo.jpg"}
pytestmark = pytest.mark.usefixtures("redis")


def test_json_upload_answers_201_with_all_fields_and_enqueues(
    transactional_db: None, api: APIClient, author: Any, broker: Any
) -> None:
    answer = api.post("/upload/", GOOD, format="json")
    body = answer.json()
    assert answer.status_code == 201
    assert list(body) == ["id", "user_id", "description", "photo_url", "created_at", "fanout"]
    assert body["user_id"] == as_json(author.pk)
    assert body["photo_url"] == GOOD["photo_url"]
    assert body["fanout"] == f"http://testserver/photos/{body['id']}/fanout/"
    assert FanOut.objects.get(photo_id=body["id"]).state == "waiting"
    assert broker.llen("celery")
    progress = api.get(body["fanout"])
    assert list(progress.json()) == ["state", "reached", "total", "started_at", "finished_at", "lag_seconds"]
    assert progress.json()["state"] == "waiting"


BAD_BODIES = [
    ({}, {"description"}),
    ({"description": "x"}, {"photo_url"}),
    ({"photo_url": GOOD["photo_url"]}, {"description"}),
    ({**GOOD, "description": ""}, {"description"}),
    ({**GOOD, "description": None}, {"description"}),
    ({**GOOD, "description": 5}, {"description"}),
    ({**GOOD, "description": ["x"]}, {"description"}),
    ({**GOOD, "description": "x" * 2001}, {"description"}),
    ({**GOOD, "description": "a\0b"}, {"description"}),
    ({**GOOD, "description": "\ud800"}, {"description"}),
    ({**GOOD, "photo_url": "javascript:alert(1)"}, {"photo_url"}),
    ({**GOOD, "photo_url": "ftp://example.com/x"}, {"photo_url"}),
    ({**GOOD, "photo_url": "data:text/html,x"}, {"photo_url"}),
    ({**GOOD, "photo_url": "no url"}, {"photo_url"}),
    ({**GOOD, "photo_url": 7}, {"photo_url"}),
    ({**GOOD, "photo_url": "https://example.com/" + "x" * 2000}, {"photo_url"}),
    ({**GOOD, "photo_url": "https://example.com/\0"}, {"photo_url"}),
    ({**GOOD, "user_id": True}, {"user_id"}),
    ({**GOOD, "user_id": 1.5}, {"user_id"}),
    ({**GOOD, "user_id": None}, {"user_id"}),
    ({**GOOD, "user_id": [1]}, {"user_id"}),
    ({**GOOD, "image": "not a file"}, {"image"}),
]


@pytest.mark.parametrize(("body", "fields"), BAD_BODIES)
def test_bad_fields_are_named_with_a_reason_and_nothing_is_saved(
    transactional_db: None, api: APIClient, broker: Any, body: Any, fields: set[str]
) -> None:
    answer = api.post("/upload/", json.dumps(body), content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert set(answer.json()) == fields
    assert all(reason for reasons in answer.json().values() for reason in reasons)
    assert nothing_was_saved(broker)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"description": ', "application/json", 400),
        (b"\xff\xfe{}", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b"null", "application/json", 400),
        (b"[" * 60_000, "application/json", 400),
        (b'{"user_id": ' + b"9" * 5_000 + b"}", "application/json", 400),
        (b'{"description": "' + b"x" * 70_000 + b'"}', "application/json", 413),
        (b"<a/>", "application/xml", 415),
        (b"no parts", "multipart/form-data; boundary=x", 400),
        (b"", "multipart/form-data", 400),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x; charset=idna", 400),
    ],
)
def test_broken_bodies_are_refused_with_a_sentence(
    transactional_db: None, api: APIClient, broker: Any, body: bytes, content_type: str, status: int
) -> None:
    answer = api.post("/upload/", body, content_type=content_type)
    assert answer.status_code == status, answer.content
    assert answer.json()
    assert nothing_was_saved(broker)


def test_without_token_or_with_a_wrong_one_it_is_401(db: None, client: Any) -> None:
    assert client.post("/upload/", GOOD, content_type="application/json").status_code == 401
    headers = {"Authorization": "Token wrong"}
    refused = client.post("/upload/", GOOD, content_type="application/json", headers=headers)
    assert refused.status_code == 401
    assert not Photo.objects.exists()


def test_user_id_may_be_ones_own_and_anybodys_only_with_the_permission(
    db: None, api: APIClient, author: Any, make_users: Any
) -> None:
    other = make_users(1)[0]
    assert api.post("/upload/", {**GOOD, "user_id": author.pk}, format="json").status_code == 201
    assert api.post("/upload/", {**GOOD, "user_id": str(author.pk)}, format="json").status_code == 201
    assert api.post("/upload/", {**GOOD, "user_id": other.pk}, format="json").status_code == 403
    assert api.post("/upload/", {**GOOD, "user_id": 10**30}, format="json").status_code == 403
    author.user_permissions.add(Permission.objects.get(codename="upload_for_others"))
    answer = api.post("/upload/", {**GOOD, "user_id": other.pk}, format="json")
    assert answer.status_code == 201
    assert answer.json()["user_id"] == as_json(other.pk)
    assert Photo.objects.get(pk=answer.json()["id"]).user == other
    for nobody in (987_654, 10**30, -1, "x"):
        refused = api.post("/upload/", {**GOOD, "user_id": nobody}, format="json")
        assert (refused.status_code, set(refused.json())) == (400, {"user_id"})


def test_the_same_idempotency_key_gives_the_same_photo_once(
    db: None, api: APIClient, author: Any, make_users: Any
) -> None:
    def upload(key: str) -> Any:
        return api.post("/upload/", GOOD, format="json", headers={"Idempotency-Key": key})

    first, second, other = upload("k1"), upload("k1"), upload("k2")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert other.json()["id"] != first.json()["id"]
    assert Photo.objects.count() == FanOut.objects.count() == 2
    for bad in ("", "two words", "x" * 256, "ümlaut"):
        refused = upload(bad)
        assert (refused.status_code, set(refused.json())) == (400, {"Idempotency-Key"}), bad


def test_the_same_idempotency_key_at_once_gives_one_photo(
    transactional_db: None, author: Any, broker: Any
) -> None:
    from django.db import connection

    from mydjangoapp import uploads

    def publish(_: int) -> int:
        try:
            return int(uploads.publish(author, **GOOD, idempotency_key="same").pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        photos = set(pool.map(publish, range(24)))
    assert len(photos) == 1
    assert Photo.objects.count() == UploadKey.objects.count() == FanOut.objects.count() == 1


def test_uploads_are_throttled_per_user(db: None, api: APIClient, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "UPLOAD_RATE": "2/min"}
    statuses = [api.post("/upload/", GOOD, format="json").status_code for _ in range(3)]
    assert statuses == [201, 201, 429]


def test_a_rolled_back_upload_leaves_no_fanout_and_no_message(
    transactional_db: None, author: Any, broker: Any
) -> None:
    from django.db import transaction

    from mydjangoapp import uploads

    class Stop(Exception):
        pass

    @transaction.atomic
    def publish_and_fail() -> None:
        uploads.publish(author, **GOOD)
        raise Stop

    with pytest.raises(Stop):
        publish_and_fail()
    assert nothing_was_saved(broker)


def test_a_session_login_needs_the_csrf_token(db: None, author: Any) -> None:
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(author)
    assert client.post("/upload/", GOOD, content_type="application/json").status_code == 403
    assert not Photo.objects.exists()


def test_progress_is_for_the_author_and_staff(db: None, api: APIClient, make_users: Any) -> None:
    from rest_framework.test import APIClient as Client

    url = api.post("/upload/", GOOD, format="json").json()["fanout"]
    stranger, staff = make_users(2)
    staff.is_staff = True
    client = Client()
    assert client.get(url).status_code == 401
    client.force_authenticate(stranger)
    assert client.get(url).status_code == 403
    client.force_authenticate(staff)
    assert client.get(url).status_code == 200
    assert client.get("/photos/999999999999999999999/fanout/").status_code == 404
    assert client.get("/photos/987654/fanout/").status_code == 404


def test_a_token_for_name_and_password_and_nothing_for_wrong_ones(db: None, author: Any, client: Any) -> None:
    author.set_password("right horse")
    author.save()
    body = {"username": author.get_username(), "password": "right horse"}
    answer = client.post("/token/", body, content_type="application/json")
    assert answer.status_code == 200
    assert list(answer.json()) == ["token"]
    wrong = client.post("/token/", {**body, "password": "x"}, content_type="application/json")
    assert wrong.status_code == 400
    assert client.post("/token/", {"username": "a\0"}, content_type="application/json").status_code == 400


def test_an_upload_succeeds_when_the_broker_is_down_and_says_so(
    transactional_db: None, author: Any, broker: Any
) -> None:
    code = (
        "from django.contrib.auth import get_user_model; from mydjangoapp import uploads; "
        f"uploads.publish(get_user_model().objects.get(pk={str(author.pk)!r}), **{GOOD!r})"
    )
    environ = {**os.environ, "CELERY_BROKER_URL": f"redis://127.0.0.1:{free_port()}/1"}
    ran = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v0", "-c", code], env=environ, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert "the broker did not take" in ran.stderr
    assert FanOut.objects.get().state == "waiting"
    assert not broker.llen("celery")


def test_a_login_by_basic_is_no_way_past_the_limit_on_tokens(
    db: None, author: Any, client: Any, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "TOKEN_RATE": "2/min"}
    body = {"username": author.get_username(), "password": "wrong"}

    def attempt(number: int) -> int:
        headers = {"Authorization": "Basic dXNlcjp4", "X-Forwarded-For": f"10.0.0.{number}"}
        return int(client.post("/token/", body, content_type="application/json", headers=headers).status_code)

    assert [attempt(number) for number in range(3)] == [400, 400, 429]
