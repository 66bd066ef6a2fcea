"""What strangers try, and what must not get out."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from devtools.installed_servers import RabbitServer
from devtools.servers import (
    LOOPBACK,
    ROOT,
    RedisServer,
    Server,
    celery_worker,
    free_port,
    in_use,
    wait_until,
    web_server,
    worker_is_ready,
)
from mydjangoapp.api.throttles import address_of
from mydjangoapp.models import FanOut, Photo
from tests import servers
from tests.checker import fill, wait_for_end

pytestmark = pytest.mark.usefixtures("redis")

GOOD = {"description": "a photo", "photo_url": "https://example.com/p.jpg"}


def test_fields_that_are_not_the_uploaders_to_set_are_ignored(db: None, api: APIClient, author: Any) -> None:
    more = {
        "id": 4_711,
        "user": 4_711,
        "like_count": 1_000,
        "pulled": True,
        "created_at": "1999-01-01T00:00:00Z",
        "state": "done",
    }
    answer = api.post("/upload/", {**GOOD, **more}, format="json")
    assert answer.status_code == 201, answer.content
    photo = Photo.objects.get()
    assert photo.pk != 4_711
    assert (photo.user, photo.like_count, photo.pulled) == (author, 0, False)
    assert photo.created_at.year > 1999
    assert FanOut.objects.get().state == "waiting"


@pytest.mark.parametrize("user_id", [10**30, -1, "' OR 1=1 --", "\x00", ["1"], {"id": 1}, True, 1.5])
def test_nobody_uploads_for_another(db: None, api: APIClient, make_users: Any, user_id: Any) -> None:
    [other] = make_users(1)
    for id_ in (user_id, other.pk):
        answer = api.post("/upload/", {**GOOD, "user_id": id_}, format="json")
        assert answer.status_code in (400, 403), answer.content
        assert "user_id" in answer.content.decode()
    assert not Photo.objects.exists()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/upload/"),
        ("delete", "/photos/{photo}/"),
        ("put", "/photos/{photo}/like/"),
        ("put", "/users/{user}/follow/"),
        ("put", "/users/{user}/mute/"),
        ("delete", "/users/{user}/block/"),
        ("post", "/photos/{photo}/fanout/retry/"),
    ],
)
def test_another_sites_page_changes_nothing_in_a_session(
    db: None, author: Any, make_users: Any, method: str, path: str
) -> None:
    """A browser sends the session cookie with a foreign page's request, but not the CSRF token."""
    author.is_staff = True
    author.save()
    photo = Photo.objects.create(user=author, description="mine")
    url = path.format(photo=photo.pk, user=make_users(1)[0].pk)
    client = Client(enforce_csrf_checks=True)
    client.force_login(author)
    assert client.get("/feed/").status_code == 200
    answer = getattr(client, method)(url, json.dumps(GOOD), content_type="application/json")
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]
    assert list(Photo.objects.all()) == [photo]


def test_changes_are_throttled_per_user_and_reading_is_not(
    db: None, api: APIClient, make_users: Any, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "CHANGE_RATE": "2/min"}
    [other] = make_users(1)
    url = f"/users/{other.pk}/follow/"
    assert [api.put(url).status_code for _ in range(3)] == [204, 204, 429]
    assert int(api.put(url).headers["Retry-After"]) > 0
    assert api.get("/feed/").status_code == 200


def test_a_photo_url_is_never_fetched(worker: Server, author: Any) -> None:
    """Not while uploading, not while carrying, not while reading: it could name a server inside."""
    with socket.create_server((LOOPBACK, 0)) as inside:
        inside.settimeout(0.5)
        fill(author.pk, 5)
        client = APIClient()
        client.force_authenticate(author)
        url = f"http://{LOOPBACK}:{inside.getsockname()[1]}/latest/meta-data"
        answer = client.post("/upload/", {**GOOD, "photo_url": url}, format="json")
        assert answer.status_code == 201
        photo = answer.json()["id"]
        assert wait_for_end(photo) == "done"
        assert client.get("/feed/").json()["results"][0]["photo_url"] == url
        assert client.get(f"/photos/{photo}/").status_code == 200
        with pytest.raises(TimeoutError):
            inside.accept()


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:text/html,x",
        "ftp://x.org/a",
        "//x.org/a",
        "https://",
        "https://x.org/a b",
    ],
)
def test_only_web_addresses_are_photo_urls(db: None, api: APIClient, url: str) -> None:
    answer = api.post("/upload/", {**GOOD, "photo_url": url}, format="json")
    assert answer.status_code == 400
    assert set(answer.json()) == {"photo_url"}


def test_images_are_served_as_images_and_nothing_else_as_a_page(
    db: None, api: APIClient, client: Any, settings: Any, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path
    out = io.BytesIO()
    Image.new("RGB", (4, 3)).save(out, "PNG")
    image = SimpleUploadedFile("page.html", out.getvalue(), "text/html")
    answer = api.post("/upload/", {"description": "x", "image": image}, format="multipart")
    assert answer.status_code == 201
    served = client.get(answer.json()["photo_url"])
    assert served.headers["Content-Type"] == "image/png"
    (tmp_path / "old.html").write_text("<script>alert(1)</script>")
    page = client.get("/media/old.html")
    assert page.headers["Content-Type"] == "application/octet-stream"
    assert page.headers["Content-Disposition"] == "attachment"
    for found in (served, page):
        assert found.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in found.headers["Content-Security-Policy"]
    assert client.get("/media/../site.sqlite3").status_code in (400, 404)


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def test_a_pickled_message_is_refused_and_not_opened(
    workers: Callable[..., Server], author: Any, tmp_path: Path
) -> None:
    from celery import current_app

    worker = workers()
    opened = tmp_path / "opened"
    with current_app.connection_for_write() as connection:
        connection.Producer().publish(
            pickle.dumps(Bomb(f"touch {opened}")),
            content_type="application/x-python-serialize",
            content_encoding="binary",
            routing_key="celery",
            headers={"task": "mydjangoapp.tasks.insert_into_homefeed", "id": "bad"},
        )
    wait_until(lambda: "ContentDisallowed" in worker.log.read_text(), seconds=20, what="it is refused")
    photo = Photo.objects.create(user=author, description="the worker goes on")
    assert wait_for_end(photo.pk) == "done"
    assert not opened.exists()


SECRET = "s3cret-w0rd"


@contextmanager
def guarded_redis(directory: Path) -> Iterator[RedisServer]:
    with RedisServer.at(directory, options=["--requirepass", SECRET]) as server:
        yield server


def test_passwords_do_not_get_into_logs_or_answers(
    transactional_db: None, author: Any, tmp_path: Path, broker_server: RedisServer | RabbitServer
) -> None:
    """Site and worker with passwords in every URL, through an outage of what they name."""
    token = Token.objects.create(user=author).key
    with guarded_redis(tmp_path / "redis") as redis:
        url = f"redis://:{SECRET}@{LOOPBACK}:{redis.port}"
        environ = {
            **servers.ENVIRON,
            "REDIS_URL": f"{url}/0",
            "CELERY_BROKER_URL": f"{url}/1",
            "CACHE_URL": f"{url}/2",
            "SECRET_KEY": f"{SECRET}-{SECRET}-{SECRET}",
            "TASK_LOG_LEVEL": "INFO",
            "LOG_LEVEL": "DEBUG",
        }
        port = free_port()
        with (
            web_server(tmp_path / "web.log", environ, port) as web,
            celery_worker(tmp_path / "worker.log", environ) as worker,
        ):
            web.wait_for(lambda: in_use(port), seconds=60, what="the site answers")
            worker.wait_for(lambda: worker_is_ready(worker), seconds=60, what="the worker takes tasks")

            def call(path: str, body: dict[str, str] | None = None) -> bytes:
                headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
                data = json.dumps(body).encode() if body else None
                request = urllib.request.Request(f"http://{LOOPBACK}:{port}{path}", data, headers)  # our own
                direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                try:
                    with direct.open(request, timeout=30) as answer:
                        return bytes(answer.read())
                except urllib.error.HTTPError as error:
                    return bytes(error.read())

            call("/upload/", GOOD)
            call("/token/", {"username": "somebody", "password": SECRET})
            wait_for_end(Photo.objects.get().pk)
            redis.signal(signal.SIGKILL)
            redis.process.wait()  # type: ignore[union-attr]  # it was started
            answers = [call("/upload/", GOOD), call("/feed/"), call("/readyz/"), call("/upload/", {})]
            wait_until(
                lambda: "Connection to broker lost" in worker.log.read_text(),
                seconds=20,
                what="the worker sees",
            )
        said = [web.log.read_text(), worker.log.read_text(), *(answer.decode() for answer in answers)]
    assert "does not answer" in said[4], "the outage shows"
    assert [SECRET in words or token in words for words in said] == [False] * len(said)


def test_check_deploy_is_clean_with_the_settings_of_the_docs(tmp_path: Path) -> None:
    documented = (ROOT / "docs" / "OPERATING.md").read_text().partition("```sh\n")[2].partition("```")[0]
    given = dict(line.split("=", 1) for line in documented.split() if "=" in line)
    assert {"SECRET_KEY", "ALLOWED_HOSTS", "HTTPS"} <= given.keys()
    environ = {**os.environ, "VAR_DIR": str(tmp_path), **given, "SECRET_KEY": "k3Y9-" * 12}
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "CACHE_URL"):
        environ[name] = servers.ENVIRON.get(name, "redis://127.0.0.1:1/0")
    check = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    ran = subprocess.run(check, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    ran = subprocess.run(check, cwd=ROOT, env={**environ, "HTTPS": "false"}, capture_output=True, text=True)
    assert ran.returncode == 1, "a check that cannot fail is none"


def wrong_password(client: Any, name: str, address: str, **headers: str) -> int:
    body = {"username": name, "password": "wrong"}
    answer = client.post(
        "/token/", body, content_type="application/json", headers=headers, REMOTE_ADDR=address
    )
    return int(answer.status_code)


@pytest.fixture
def without_lock(settings: Any) -> None:
    """The app's own limits, as in a site without django-axes."""
    settings.AXES_ENABLED = False


def test_behind_a_proxy_log_ins_are_counted_by_the_clients_own_address(
    db: None, client: Any, settings: Any, without_lock: None
) -> None:
    """Thirty wrong passwords of one client locked all others out."""
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "TOKEN_RATE": "2/min"}
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}
    proxy = "10.0.0.1"

    def attempt(number: int, client_address: str) -> int:
        said = (
            f"1.2.3.{number}, {client_address}"  # the proxy adds the last one, the client made the first up
        )
        return wrong_password(client, f"user-{number}", proxy, **{"X-Forwarded-For": said})

    assert [attempt(number, "192.0.2.1") for number in range(3)] == [400, 400, 429]
    assert attempt(4, "192.0.2.2") == 400, "another client"


def test_the_site_counts_one_proxy_where_it_is_told_that_there_is_one() -> None:
    code = "from django.conf import settings; print(settings.REST_FRAMEWORK['NUM_PROXIES'])"
    for told, counted in (("true", "1"), ("false", "None")):
        environ = {**os.environ, "BEHIND_PROXY": told}
        ran = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True
        )
        assert ran.stdout.strip() == counted, ran.stderr


def test_a_whole_ipv6_network_has_one_count(db: None, client: Any, settings: Any, without_lock: None) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "TOKEN_RATE": "2/min"}
    answers = [wrong_password(client, f"user-{n}", f"2001:db8:1:2:{n}::{n}") for n in range(3)]
    assert answers == [400, 400, 429]
    assert wrong_password(client, "user-9", "2001:db8:1:3::1") == 400, "another network"
    assert wrong_password(client, "user-9", "::ffff:192.0.2.1") == 400, "IPv4 by another name"


def test_a_name_has_a_limit_whatever_addresses_it_is_tried_from(
    db: None, client: Any, settings: Any, without_lock: None
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "TOKEN_NAME_RATE": "2/min"}
    names = ["Ada", "ada", " ADA "]
    assert [wrong_password(client, name, f"192.0.2.{n}") for n, name in enumerate(names)] == [400, 400, 429]
    assert wrong_password(client, "grace", "192.0.2.1") == 400


def test_the_admins_log_in_has_a_limit(transactional_db: None, settings: Any, author: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    author.is_staff = True
    author.set_password("right horse")
    author.save()
    page = "/admin/login/"
    client = Client()
    name = author.get_username()
    answers = [
        client.post(page, {"username": name, "password": "wrong"}, REMOTE_ADDR=f"192.0.2.{n}").status_code
        for n in range(3)
    ]
    assert answers == [200, 200, 429]
    right = {"username": name, "password": "right horse"}
    assert client.post(page, right, REMOTE_ADDR="192.0.2.9").status_code == 429, "for some minutes"
    AccessAttempt.objects.all().delete()  # they have passed
    assert client.post(page, right, REMOTE_ADDR="192.0.2.9").status_code == 302


def test_a_log_in_as_oneself_does_not_give_more_tries_for_another_name(
    transactional_db: None, settings: Any, make_users: Any
) -> None:
    settings.AXES_FAILURE_LIMIT = 4
    victim, attacker = make_users(2)
    attacker.set_password("right horse")
    attacker.is_staff = True
    attacker.save()
    client = Client()

    def log_in(user: Any, password: str) -> int:
        body = {"username": user.get_username(), "password": password}
        return int(client.post("/admin/login/", body, REMOTE_ADDR="192.0.2.1").status_code)

    assert [log_in(victim, "wrong") for _ in range(3)] == [200, 200, 200]
    assert log_in(attacker, "right horse") == 302
    client = Client()
    assert log_in(victim, "wrong") == 429


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:5678", "192.0.2.1"),
        ("[2001:db8:1:2::3]:5678", "2001:db8:1:2::"),
        ("2001:db8:1:2:3::", "2001:db8:1:2::"),
        ("", None),
        ("unix:", None),
    ],
)
def test_an_address_is_counted_as_itself_or_not_at_all(rf: Any, said: str, counted: str | None) -> None:
    assert address_of(rf.get("/", REMOTE_ADDR=said)) == counted


def test_behind_a_proxy_a_hosts_own_rates_do_not_matter(rf: Any, settings: Any) -> None:
    rates = {"DEFAULT_THROTTLE_RATES": {"user": "10/day"}}
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1, **rates}
    request = rf.get("/", REMOTE_ADDR="10.0.0.1", headers={"X-Forwarded-For": "1.1.1.1, 192.0.2.7"})
    assert address_of(request) == "192.0.2.7"
