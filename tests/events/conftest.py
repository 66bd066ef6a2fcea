"""Transports to run the contract on: Redis Streams of the run's own Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest

from mydjangoapp.events.message import Delivery, Outgoing
from mydjangoapp.events.redis_streams.connection import beside_the_feeds
from mydjangoapp.events.redis_streams.transport import RedisStreams
from mydjangoapp.events.transport import Consumer, Transport

_numbers = count(1)


@pytest.fixture
def topic() -> str:
    """A name nobody has used."""
    return f"topic-{next(_numbers)}"


@pytest.fixture(params=["redis"])
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each there is, in turn."""
    request.getfixturevalue("redis")
    return RedisStreams(beside_the_feeds())


TIMEOUT = 0.6  # seconds; a message that is not finished by then is another's


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

    def consumer(self, channel: str = "one", timeout: float = TIMEOUT, most: int = 1000) -> Consumer:
        found = self.transport.consumer(self.topic, channel, timeout=timeout, max_in_flight=most)
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
    import time

    found: list[Delivery] = []
    end = time.monotonic() + seconds
    while len(found) < number and time.monotonic() < end:
        found += consumer.take(number - len(found), 0.2)
    assert len(found) == number, f"{len(found)} of {number} came within {seconds} s"
    return found


def take_nothing(consumer: Consumer, seconds: float = 0.3) -> None:
    """Asks for so long, and gets nothing."""
    import time

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


Publish = Callable[..., list[str]]
