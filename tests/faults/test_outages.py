"""What a site still does while one of its servers is away: each line of docs/OUTAGES.md, over HTTP."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from rest_framework.authtoken.models import Token

from devtools.installed_servers import RabbitServer
from devtools.servers import LOOPBACK, RedisServer, Server, free_port, in_use, wait_until, web_server
from mydjangoapp import graph
from mydjangoapp.homefeed import keys
from mydjangoapp.models import Follow, PendingChange, Photo
from tests import servers
from tests.checker import state, wait_for_end
from tests.feeds import truth_of

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]
Workers = Callable[..., Server]
Broker = RedisServer | RabbitServer

DOWN, BLACK_HOLE = 1.0, 2.5  # seconds in which an upload is answered, whatever is away
RECOVERY = 33


@dataclass
class Answer:
    """What came back, and after how many seconds."""

    status: int
    body: Any
    seconds: float
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Site:
    """The site of a gunicorn, as one user sees it."""

    port: int
    token: str

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        request = urllib.request.Request(  # our own server
            f"http://{LOOPBACK}:{self.port}{path}",
            json.dumps(body).encode() if body is not None else None,
            {"Authorization": f"Token {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        began = time.monotonic()
        try:
            with direct.open(request, timeout=60) as answer:
                status, text, headers = answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            status, text, headers = error.code, error.read(), dict(error.headers)
        return Answer(status, json.loads(text) if text else None, time.monotonic() - began, headers)

    def names_as_well(self, part: str) -> bool:
        """Whether `/readyz/` says that this part is well."""
        return bool(self.call("GET", "/readyz/").body[part] == "ok")

    def upload(self) -> Answer:
        body = {"description": "a photo", "photo_url": "https://example.com/p.jpg"}
        return self.call("POST", "/upload/", body)

    def feed(self) -> list[int]:
        """The ids on the first page of the user's feed."""
        answer = self.call("GET", "/feed/?limit=100")
        assert answer.status == 200, answer
        return [photo["id"] for photo in answer.body["results"]]


@pytest.fixture
def me(workers: Workers, make_users: Callable[[int], list[Any]]) -> Any:
    """A user who follows another, and both have photos in the first one's feed."""
    return make_users(1)[0]


@contextmanager
def running(me: Any, followee: Any, log: Path, **environ: str) -> Iterator[Site]:
    """A site that has served before the fault."""
    port = free_port()
    with web_server(log, {**servers.ENVIRON, **environ}, port) as web:
        web.wait_for(lambda: in_use(port), seconds=60, what="the site answers")
        site = Site(port, Token.objects.create(user=me).key)
        graph.follow(me, followee)
        assert site.upload().status == 201
        assert len(site.feed()) == 1
        yield site


@pytest.fixture
def site(me: Any, make_users: Callable[[int], list[Any]], tmp_path: Path) -> Iterator[Site]:
    """A running site on the servers of this run."""
    with running(me, make_users(1)[0], tmp_path / "web.log") as site:
        yield site


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """A black hole: takes connections and what is sent, and never answers."""
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


@contextmanager
def killed(server: Server) -> Iterator[None]:
    """Nobody listens."""
    server.kill()
    try:
        yield
    finally:
        server.start()


def check_while_broker_is_away(site: Site, me: Any, others: list[Any], within: float) -> list[int]:
    uploads = [site.upload(), site.upload()]
    assert [answer.status for answer in uploads] == [201, 201]
    assert max(answer.seconds for answer in uploads) < within
    photos = [answer.body["id"] for answer in uploads]
    there = site.feed()
    assert there, "feeds are read as ever; what is under way comes with its fan-out"
    assert site.call("PUT", f"/users/{others[0].pk}/follow/").status == 204
    assert site.call("DELETE", f"/photos/{photos[0]}/").status == 204
    assert site.call("GET", "/readyz/?strict").status == 503
    ready = site.call("GET", "/readyz/")
    assert ready.status == 200, "it is of use all the same"
    assert "broker does not answer" in ready.body["broker"]
    assert (ready.body["database"], ready.body["redis"]) == ("ok", "ok")
    assert site.feed() == truth_of(me)[:100], "from SQL since the follow, and so without waiting"
    return photos[1:]


@pytest.mark.parametrize(
    ("fault", "within"), [pytest.param(killed, DOWN, marks=pytest.mark.slow), (stopped, BLACK_HOLE)]
)
def test_the_broker_is_away(
    site: Site,
    me: Any,
    workers: Workers,
    make_users: Callable[[int], list[Any]],
    broker_server: Broker,
    fault: Any,
    within: float,
) -> None:
    with fault(broker_server):
        photos = check_while_broker_is_away(site, me, make_users(1), within)
    assert {state(photo) for photo in photos} == {"waiting"}
    workers()
    for photo in photos:
        assert wait_for_end(photo, seconds=RECOVERY) == "done"
    assert site.feed() == truth_of(me)[:100]
    wait_until(lambda: site.names_as_well("broker"), seconds=30, what="the broker is there again")


@pytest.mark.parametrize(
    ("fault", "within"), [(killed, DOWN), pytest.param(stopped, BLACK_HOLE, marks=pytest.mark.slow)]
)
def test_the_feeds_redis_is_away(
    site: Site,
    me: Any,
    workers: Workers,
    make_users: Callable[[int], list[Any]],
    redis_server: RedisServer,
    redis: Any,
    fault: Any,
    within: float,
) -> None:
    other, muted = make_users(2)
    graph.follow(me, muted)
    old = Photo.objects.create(user=other, description="before the follow")
    Photo.objects.create(user=muted, description="before the mute")
    workers()
    with fault(redis_server):
        uploads = [site.upload(), site.upload()]
        assert [answer.status for answer in uploads] == [201, 201]
        assert max(answer.seconds for answer in uploads) < within
        assert site.call("PUT", f"/users/{other.pk}/follow/").status == 204
        assert site.call("PUT", f"/users/{muted.pk}/mute/").status == 204
        assert site.call("PUT", f"/photos/{old.pk}/like/").status == 204
        assert old.pk in site.feed()
        assert site.feed() == truth_of(me)[:100], "from SQL, and right"
        assert site.call("DELETE", f"/photos/{uploads[0].body['id']}/").status == 204
        assert site.call("GET", "/readyz/?strict").status == 503
        ready = site.call("GET", "/readyz/")
        assert ready.status == 200, "it is of use all the same"
        assert "Check that it runs and that MYDJANGOAPP['REDIS_URL'] names it" in ready.body["redis"]
    assert wait_for_end(uploads[0].body["id"], seconds=RECOVERY) == "cancelled"
    assert wait_for_end(uploads[1].body["id"], seconds=RECOVERY) == "done"
    wait_until(
        lambda: (
            str(me.pk).encode() in redis.lrange(keys.followers(other.pk), 0, -1)
            or not redis.exists(keys.followers(other.pk))
        ),
        seconds=RECOVERY,
        what="the follow has reached Redis",
    )
    wait_until(lambda: site.names_as_well("redis"), seconds=30, what="Redis is there again")
    wait_until(lambda: not PendingChange.objects.exists(), seconds=RECOVERY, what="all has been brought in")
    assert site.feed() == truth_of(me)[:100]
    page = site.call("GET", "/feed/?limit=100").body["results"]
    assert {photo["id"] for photo in page if photo["liked"]} == {old.pk}


@pytest.mark.slow
def test_broker_and_redis_are_black_holes_at_once(
    site: Site, workers: Workers, broker_server: Broker, redis_server: RedisServer
) -> None:
    with stopped(broker_server), stopped(redis_server):
        uploads = [site.upload(), site.upload()]
    assert [answer.status for answer in uploads] == [201, 201]
    assert max(answer.seconds for answer in uploads) < BLACK_HOLE
    workers()
    for answer in uploads:
        assert wait_for_end(answer.body["id"], seconds=RECOVERY) == "done"


@pytest.mark.parametrize("fault", [pytest.param(killed, marks=pytest.mark.slow), stopped])
def test_the_cache_is_away(
    me: Any, workers: Workers, make_users: Callable[[int], list[Any]], tmp_path: Path, fault: Any
) -> None:
    [followee] = make_users(1)
    workers()
    with (
        RedisServer.at(tmp_path / "cache", append_only=False) as cache,
        running(me, followee, tmp_path / "web.log", CACHE_URL=cache.url()) as site,
    ):
        with fault(cache):
            answer = site.upload()
            assert answer.status == 201
            assert answer.seconds < BLACK_HOLE
            wait_for_end(answer.body["id"], seconds=RECOVERY)
            assert site.feed() == truth_of(me)[:100]
            assert site.call("PUT", f"/users/{followee.pk}/mute/").status == 204
            assert site.call("GET", "/readyz/").status == 200, "nobody needs the cache"
        assert site.feed() == truth_of(me)[:100]


@pytest.mark.skipif("postgres" not in servers.ON, reason="SQLite is a file and cannot be away")
def test_the_database_is_away(site: Site, me: Any, workers: Workers) -> None:
    assert servers.POSTGRES is not None
    worker = workers()
    photos = site.feed()
    servers.POSTGRES.process.send_signal(signal.SIGINT)  # type: ignore[union-attr]  # it was started
    servers.POSTGRES.process.wait(60)  # type: ignore[union-attr]
    try:
        for answer in (site.upload(), site.call("GET", "/feed/"), site.call("POST", "/token/", LOGIN)):
            assert answer.status == 503
            assert answer.body == {"detail": "The database does not answer. Try again in a moment."}
            assert answer.headers["Retry-After"] == "5"
        assert site.call("GET", "/livez/").status == 200
        ready = site.call("GET", "/readyz/")
        assert ready.status == 503
        assert ready.body["database"] != "ok"
        assert (ready.body["redis"], ready.body["broker"]) == ("ok", "ok")
    finally:
        servers.POSTGRES.start()
        connections.close_all()
    wait_until(lambda: site.call("GET", "/readyz/").status == 200, seconds=30, what="it is ready again")
    assert site.feed() == photos, "nothing is half done"
    answer = site.upload()
    assert answer.status == 201
    assert wait_for_end(answer.body["id"], seconds=RECOVERY) == "done"
    assert worker.running
    assert Follow.objects.filter(follower=me).count() == 1


LOGIN = {"username": "somebody", "password": "secret"}
