"""What the fault tests run twice: the engine, and the naive chain that the checker has to catch."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from benchmarks import ways
from devtools.installed_servers import RabbitServer
from devtools.servers import RedisServer, wait_until
from mydjangoapp import uploads
from mydjangoapp.homefeed import feeds_redis, keys
from mydjangoapp.models import FanOut, Photo
from mydjangoapp.tasks import insert_into_homefeed
from tests import servers
from tests.checker import cursor, quiet, state
from tests.conftest import Workers, connect
from tests.faults.trial import Findings, Trial


@dataclass(frozen=True)
class Chain:
    """One way to carry a photo, as a test handles it."""

    task: str
    begin: Callable[[Any], int]
    send: Callable[[int, Any], object]
    is_on_its_way: Callable[[int, int], bool]
    has_ended: Callable[[int], bool]
    is_exact: bool

    def wait_until_on_its_way(self, photo: int, followers: int) -> None:
        """Returns in the middle: some thousands are served, most are not."""
        wait_until(lambda: self.is_on_its_way(photo, followers), seconds=30, what="the chain is on its way")

    def wait_for_end(self, photo: int, seconds: float) -> None:
        """The engine has to end. A naive chain may stand still for good, when its message has gone with the
        process that held it: that is a loss, and the checker's to find."""
        try:
            wait_until(lambda: self.has_ended(photo), seconds=seconds, what="the chain ends")
        except TimeoutError:
            if self.is_exact:
                raise


def _publish(author: Any) -> int:
    return int(uploads.publish(author, description="a photo", photo_url="https://example.com/p.jpg").pk)


def _naive_begin(author: Any) -> int:
    # Its photo is saved past the signal, so that the engine does not carry it too.
    [photo] = Photo.objects.bulk_create(
        [Photo(user=author, description="naive", photo_url="https://example.com")]
    )
    ways.naive.delay(photo.pk, author.pk)
    return int(photo.pk)


def _naive_is_on_its_way(photo: int, followers: int) -> bool:
    """Whether the follower at a tenth of the list has it."""
    author = Photo.objects.get(id=photo).user
    client: Any = feeds_redis.client()
    [user] = client.lrange(keys.followers(author.pk), followers // 10, followers // 10)
    return str(photo).encode() in client.lrange(keys.homefeed(user.decode()), 0, -1)


@pytest.fixture
def engine() -> Chain:
    """`insert_into_homefeed`, begun by an upload."""
    return Chain(
        task="mydjangoapp.tasks.insert_into_homefeed",
        begin=_publish,
        send=lambda photo, author: insert_into_homefeed.delay(photo, author.pk, 0),
        is_on_its_way=lambda photo, followers: cursor(photo) >= followers // 10,
        has_ended=lambda photo: state(photo) not in FanOut.OPEN,
        is_exact=True,
    )


@pytest.fixture
def naive() -> Chain:
    """One LPUSH per follower, then the next batch."""
    return Chain(
        task="benchmarks.naive",
        begin=_naive_begin,
        send=lambda photo, author: ways.naive.delay(photo, author.pk, 0),
        is_on_its_way=_naive_is_on_its_way,
        has_ended=lambda photo: bool(feeds_redis.client().exists(f"{ways.ENDED}:{photo}")),
        is_exact=False,
    )


WAYS = [pytest.param("engine"), pytest.param("naive", marks=pytest.mark.slow)]


@pytest.fixture(params=WAYS[:1] if {"rabbitmq", "cluster"} & set(servers.ON) else WAYS)
def chain(request: pytest.FixtureRequest) -> Chain:
    """Both in turn."""
    found: Chain = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def seed() -> int:
    """Of what is left to chance; `FAULT_SEED=...` repeats a run."""
    number = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"FAULT_SEED={number}")
    return number


@pytest.fixture
def is_quiet(broker_server: RedisServer | RabbitServer) -> Callable[[], bool]:
    """Tells whether the broker has no message, neither waiting nor in a worker's hands."""

    def look() -> bool:
        if isinstance(broker_server, RabbitServer):
            return broker_server.messages() == 0
        return quiet(connect(broker_server))

    return look


@pytest.fixture
def empty_broker(broker_server: RedisServer | RabbitServer) -> Callable[[], None]:
    """Throws away every message that waits."""

    def empty() -> None:
        if isinstance(broker_server, RabbitServer):
            broker_server.purge()
        else:
            connect(broker_server).flushall()

    return empty


class Meanwhile:
    """Does something over and over, in a thread, and counts."""

    def __init__(self, act: Callable[[], object], pause: float) -> None:
        self._act, self._pause = act, pause
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.times = 0

    def _run(self) -> None:
        try:
            while not self._ended.wait(self._pause):
                self._act()
                self.times += 1
        finally:
            connections.close_all()

    def __enter__(self) -> Meanwhile:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@pytest.fixture
def meanwhile() -> Callable[..., Meanwhile]:
    """`with meanwhile(act, pause=0.005):` does that all the time."""

    def start(act: Callable[[], object], pause: float = 0.005) -> Meanwhile:
        return Meanwhile(act, pause)

    return start


EXACT = "everyone once"


@pytest.fixture
def trial(request: pytest.FixtureRequest, workers: Workers, author: Any) -> Trial:
    """An upload under the fault that the test's `row` names."""
    row = request.node.get_closest_marker("row").args
    return Trial(
        author=author,
        workers=workers,
        findings=request.config.stash[FINDINGS],
        row=(row[0], row[1], row[2] if len(row) > 2 else EXACT),
        test=request.node.nodeid.partition("tests/faults/")[2],
    )


FINDINGS = pytest.StashKey[Findings]()


def pytest_configure(config: pytest.Config) -> None:
    """Findings of the whole run."""
    config.stash[FINDINGS] = Findings()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leaves what was found for `python -m tests.faults.table`."""
    if file := os.environ.get("FAULT_FINDINGS"):
        session.config.stash[FINDINGS].save(Path(file))
