"""docker-compose.yml: what its services do together, and what becomes of it when each is killed."""

from __future__ import annotations

import io
import secrets
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from PIL import Image

from devtools.servers import ROOT, ServerFailed, wait_until
from tests.composition.native import Composition, as_json, load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SECRETS = {name: secrets.token_hex(16) for name in ("SECRET_KEY", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD")}
ON_A_CLUSTER = {
    "REDIS_URL": "redis+cluster://feeds-1:6379,feeds-2:6379,feeds-3:6379/",
    "EVENTS_URL": "nsq://nsqd:4150?http=4151",
}
FOLLOWERS = 20
PEOPLE = f"""
import json
from django.contrib.auth import get_user_model
from rest_framework.authtoken.models import Token
from mydjangoapp import graph
users = [get_user_model().objects.create_user(f"user-{{n}}") for n in range({FOLLOWERS} + 1)]
for user in users[1:]:
    graph.follow(user, users[0])
print(json.dumps([Token.objects.create(user=user).key for user in users]))
"""


class Site:
    """An author, their followers and a circle, over HTTP."""

    def __init__(self, running: Composition) -> None:
        self.running = running
        self.url = running.url("web", 8000)
        made = running.execute("migrate", ["python", "manage.py", "shell", "-v0", "-c", PEOPLE])
        assert made.returncode == 0, made.stderr[-2000:]
        self.author, *self.followers = as_json(made.stdout)
        self.photos: list[int] = []
        answer = self.call("POST", "/circles/", self.author, json={"name": "Hills", "description": ""})
        self.circle: int = answer.json()["id"]

    def call(self, method: str, path: str, token: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Token {token}", **more.pop("headers", {})}
        return httpx.request(method, self.url + path, headers=headers, timeout=30, **more)

    def upload(self, key: str) -> int:
        """Uploads an image, once for all calls with this key; the status, 0 if nobody answers."""
        image = io.BytesIO()
        Image.new("RGB", (8, 8)).save(image, "PNG")
        try:
            answer = self.call(
                "POST",
                "/upload/",
                self.author,
                headers={"Idempotency-Key": key},
                files={"image": ("hill.png", image.getvalue(), "image/png")},
                data={"description": key, "circle_id": str(self.circle)},
            )
        except httpx.TransportError:
            return 0
        if answer.status_code == 201 and (photo := answer.json()["id"]) not in self.photos:
            self.photos.append(photo)
        return answer.status_code

    def upload_again_until_taken(self, key: str) -> None:
        wait_until(lambda: self.upload(key) == 201, seconds=60, what="the photo is taken")

    def ids(self, path: str, token: str) -> list[int] | int:
        """The ids of a page of photos, or the status of an answer that is none, 0 if nobody answers."""
        try:
            answer = self.call("GET", path, token)
        except httpx.TransportError:
            return 0
        if answer.status_code != 200:
            return answer.status_code
        return [photo["id"] for photo in answer.json()["results"]]

    def judge(self) -> None:
        """Every follower, and the circle, has each photo once, the newest first."""
        expected = sorted(self.photos, reverse=True)
        for path, tokens in (
            ("/feed/?limit=50", self.followers),
            (f"/circles/{self.circle}/photos/?limit=50", [self.author]),
        ):
            for token in tokens:
                wait_until(
                    lambda: self.ids(path, token) == expected,  # noqa: B023  # done at once
                    seconds=120,
                    what=f"{path} is complete",
                )


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """The composition as it is, and with what watches it."""
    with Composition(SECRETS, ["monitoring"]) as running:
        yield Site(running)


def test_a_photo_reaches_everybody(site: Site) -> None:
    assert site.upload("first") == 201
    site.judge()
    page = site.call("GET", "/feed/", site.followers[0]).json()["results"]
    image = httpx.get(page[0]["photo_url"], timeout=30)
    assert (image.status_code, image.headers["Content-Type"]) == (200, "image/png")
    ready = httpx.get(f"{site.url}/readyz/?strict", timeout=30)
    assert ready.status_code == 200, ready.text


# What people see meanwhile: the status of an upload and of a feed. 0: nobody answers.
MEANWHILE = {
    "web": (0, 0),
    "worker": (201, 200),
    "beat": (201, 200),
    "circles": (201, 200),
    "postgres": (503, 503),
    "feeds": (201, 200),
    "rabbitmq": (201, 200),
    "memcached": (201, 200),
}


@pytest.mark.parametrize("name", MEANWHILE)
def test_what_is_killed_comes_back(site: Site, name: str) -> None:
    site.upload_again_until_taken(f"before-{name}")
    site.running.kill(name)
    seen = site.ids("/feed/?limit=50", site.followers[0])
    assert (site.upload(f"without-{name}"), 200 if isinstance(seen, list) else seen) == MEANWHILE[name]
    site.running.start(name)
    for other in site.running.services:
        if site.running.services[other].spec.get("restart") != "no":
            site.running.wait_until_well(other)
    site.upload_again_until_taken(f"without-{name}")
    site.upload_again_until_taken(f"after-{name}")
    site.judge()


def test_each_service_of_the_site_is_tried() -> None:
    services = load(SECRETS)["services"]
    assert set(MEANWHILE) == {name for name, spec in services.items() if not spec.get("profiles")} - {
        "migrate"
    }


def test_prometheus_reads_the_figures(site: Site) -> None:
    server = site.running.services["prometheus"].server
    assert server is not None

    def targets() -> dict[str, str]:
        url = site.running.url("prometheus", 9090)
        active = httpx.get(f"{url}/api/v1/targets", timeout=30).json()["data"]["activeTargets"]
        return {one["labels"]["job"]: one["lastError"] or one["health"] for one in active}

    for _ in range(3):
        with suppress(TimeoutError):
            wait_until(lambda: bool(targets()), seconds=15, what="it has its targets")
            break
        # Debian's 2.42 now and then begins without them, and has none until it reads its configuration again.
        server.signal(signal.SIGHUP)
    try:
        wait_until(lambda: targets() == {"web": "up", "rabbitmq": "up"}, seconds=60, what="both are read")
    except TimeoutError as error:
        raise AssertionError(f"{error}: {targets()}\n{server.last_words()}") from error


def test_on_a_cluster_and_with_nsq() -> None:
    with Composition({**SECRETS, **ON_A_CLUSTER}, ["cluster", "nsq"]) as running:
        site = Site(running)
        assert site.upload("first") == 201
        site.judge()
        for name in ("feeds-1", "feeds-2", "feeds-3", "nsqd"):
            running.kill(name)
            assert site.upload(f"without-{name}") == 201
            running.start(name)
            running.wait_until_well(name)
            site.upload_again_until_taken(f"after-{name}")
            site.judge()
        log = running.directory / "log/worker.log"
        assert "has lost writes" not in log.read_text()


def test_without_secrets_nothing_begins() -> None:
    for name in SECRETS:
        with pytest.raises(ServerFailed, match=name):
            load({**SECRETS, name: ""})
    example = (ROOT / ".env.example").read_text()
    assert all(f"\n{name}=\n" in example for name in SECRETS), "and the example names them"


def test_services_have_few_rights() -> None:
    for name, spec in load(SECRETS)["services"].items():
        assert ":" in spec["image"] or spec["image"] == "home-feeds", f"{name}: an image by version"
        assert spec["cap_drop"] == ["ALL"] and spec["security_opt"] == ["no-new-privileges:true"], name
        ours = spec["image"] == "home-feeds"
        assert spec.get("user") or ours or name in ("prometheus", "nsqd"), f"{name}: not as root"
        assert spec.get("read_only") or name in ("postgres", "rabbitmq", "prometheus"), name
        assert not (spec.get("configs") and spec.get("read_only")), (
            f"{name}: Compose could not write its configuration"
        )
    builds = [name for name, spec in load(SECRETS)["services"].items() if "build" in spec]
    assert builds == ["migrate"], "several at once get in each other's way"
