"""What the fault tests run twice: the engine, and the naive chain that the checker has to catch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from benchmarks import ways
from mydjangoapp import uploads
from mydjangoapp.homefeed import connection, keys
from mydjangoapp.models import FanOut, Photo
from mydjangoapp.tasks import insert_into_homefeed
from proj.servers import wait_until
from tests.checker import cursor, state


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
        wait_until(lambda: self.has_ended(photo), seconds=seconds, what="the chain ends")


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
    author = get_user_model().objects.get(photos=photo)
    client: Any = connection.client()
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
        has_ended=lambda photo: bool(connection.client().exists(f"{ways.ENDED}:{photo}")),
        is_exact=False,
    )


@pytest.fixture(params=["engine", "naive"])
def chain(request: pytest.FixtureRequest) -> Chain:
    """Both in turn."""
    found: Chain = request.getfixturevalue(request.param)
    return found
