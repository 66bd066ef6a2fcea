"""Transports to run the contract on: Redis Streams of the run's own Redis, and NSQ: the nsqd that
`NSQD_TCP_ADDRESS` and `NSQD_HTTP_ADDRESS` name, or the small one of `tests/nsqd.py`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any, Self

import pytest
from django.core.management import call_command

from devtools.servers import ROOT, Server, free_port, in_use
from mydjangoapp.events.message import Delivery, Outgoing
from mydjangoapp.events.nsq.transport import Nsq
from mydjangoapp.events.redis_streams.server import beside_the_feeds
from mydjangoapp.events.redis_streams.transport import RedisStreams
from mydjangoapp.events.transport import Consumer, Transport
from tests import servers
from tests.events.nsq_in_use import real_nsqd

_numbers = count(1)


@pytest.fixture
def topic() -> str:
    """A name nobody has used."""
    return f"topic-{os.getpid()}-{next(_numbers)}"


@dataclass
class NsqServer(Server):
    """An nsqd of the tests' own, or nsqlookupd, on free ports."""

    tcp: int = 0
    http: int = 0

    @classmethod
    def at(cls, directory: Path, *, knows: Sequence[int] = ()) -> NsqServer:
        tcp, http = 0 if knows else free_port(), free_port()
        command = [sys.executable, "-m", "tests.nsqd", "--http", str(http)]
        command += ["--knows", *map(str, knows)] if knows else ["--tcp", str(tcp)]
        command += ["--data", str(directory / f"nsqd-{http}.json")]
        return cls(command, directory / f"nsqd-{http}.log", tcp=tcp, http=http)

    def start(self) -> Self:
        super().start()
        self.wait_for(lambda: in_use(self.http), seconds=20, what="nsqd answers")
        return self

    @property
    def url(self) -> str:
        return f"nsq://127.0.0.1:{self.tcp}?http={self.http}"


@pytest.fixture(scope="session")
def nsqd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an nsqd: a real one if the environment names one."""
    if url := real_nsqd():
        yield url
        return
    with NsqServer.at(tmp_path_factory.mktemp("nsqd")) as server:
        yield server.url


@pytest.fixture(params=["redis", "nsq"])
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each there is, in turn."""
    request.getfixturevalue("redis")
    if request.param == "nsq":
        return Nsq(request.getfixturevalue("nsqd"))
    return RedisStreams(beside_the_feeds())


TIMEOUT = 1.0  # the least that NSQ takes; seconds; a message that is not finished by then is another's


class Channels:
    """Makes consumers, and publishes, on one topic."""

    def __init__(self, transport: Transport, topic: str) -> None:
        self.transport, self.topic = transport, topic
        self._opened: list[Consumer] = []

    def publish(self, *bodies: dict[str, Any], action: str = "tested", delay: float = 0) -> list[str]:
        messages = [Outgoing.new(self.topic, action, body) for body in bodies]
        self.transport.publish(self.topic, messages, delay)
        return [one.id for one in messages]

    def numbered(self, number: int) -> list[str]:
        return self.publish(*({"n": n} for n in range(number)))

    def consumer(self, channel: str = "one", timeout: float = TIMEOUT) -> Consumer:
        found = self.transport.consumer(self.topic, channel, timeout=timeout)
        self._opened.append(found)
        return found

    def close(self) -> None:
        for consumer in self._opened:
            consumer.close()


@pytest.fixture
def channels(transport: Transport, topic: str) -> Iterator[Channels]:
    """Of a new topic."""
    made = Channels(transport, topic)
    yield made
    made.close()


def take(consumer: Consumer, number: int, seconds: float = 10) -> list[Delivery]:
    """So many messages. Fails if there are not."""
    found: list[Delivery] = []
    end = time.monotonic() + seconds
    while len(found) < number and time.monotonic() < end:
        found += consumer.take(number - len(found), 0.2)
    assert len(found) == number, f"{len(found)} of {number} came within {seconds} s"
    return found


def take_nothing(consumer: Consumer, seconds: float = 0.3) -> None:
    """Asks for so long, and gets nothing."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        assert not consumer.take(100, min(left, 0.1))


def take_all(consumer: Consumer, idle: float = 0.5) -> list[Delivery]:
    """All there are, until none has come for so long."""
    found: list[Delivery] = []
    while some := list(consumer.take(1000, idle)):
        found += some
    return found


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    return [one.id for one in deliveries]


Run = Callable[..., Server]


@pytest.fixture
def shop(settings: Any) -> None:
    """The site with the shop in it."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.shop"]


def said(*words: str) -> str:
    """What a command writes."""
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


@pytest.fixture
def run(tmp_path: Path, redis: Any, transactional_db: None) -> Iterator[Run]:
    """Starts `manage.py …` of the shop's site, and kills what is left of them."""
    started: list[Server] = []

    def start(*words: str, **environ: str) -> Server:
        command = [sys.executable, "manage.py", *words]
        log = tmp_path / f"command-{len(started)}.log"
        settings = {"DJANGO_SETTINGS_MODULE": "tests.shop.settings"}
        started.append(Server(command, log, {**servers.ENVIRON, **settings, **environ}, cwd=ROOT).start())
        return started[-1]

    yield start
    for server in started:
        server.kill()


def lines(file: Path) -> list[str]:
    """Its lines; none while it is not there."""
    return file.read_text().splitlines() if file.exists() else []


def channel_of_numbers() -> Any:
    """How far the only channel of topic `numbers` is, as `topics --json` says."""
    [found] = [one for one in json.loads(said("topics", "--json")) if one["topic"] == "numbers"]
    return found
