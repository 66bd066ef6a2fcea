"""A server that takes connections and answers nothing: how long a change waits for it in all."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.servers import RedisServer
from mydjangoapp import graph, likes, outbox
from mydjangoapp.connections import patience
from mydjangoapp.connections.patience import Patience
from mydjangoapp.exceptions import FeedsUnavailable
from mydjangoapp.homefeed import feeds_redis, followers, keys
from mydjangoapp.models import Follow, Like, PendingChange, Photo
from tests.feeds import publish
from tests.test_outbox import settle

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")
ONE_COMMAND = 30.0  # seconds that a single command may take: far more than all steps of a commit together


@pytest.fixture
def frozen(settings: Any, tmp_path: Path) -> Iterator[Callable[[bool], None]]:
    """A Redis of its own for feeds and events, to be stopped (SIGSTOP) and continued."""
    with RedisServer.at(tmp_path / "redis") as server:
        settings.MYDJANGOAPP = {
            **settings.MYDJANGOAPP,
            "REDIS_URL": server.url(0),
            "REDIS_TIMEOUT": ONE_COMMAND,
            "PUBLISH_TIMEOUT": 0.3,
        }

        def freeze(is_frozen: bool) -> None:
            assert server.process is not None
            server.process.send_signal(signal.SIGSTOP if is_frozen else signal.SIGCONT)

        yield freeze
        freeze(False)


@pytest.mark.parametrize("change", ["follow", "unfollow", "block", "like", "delete", "upload"])
def test_all_steps_of_a_commit_together_wait_no_longer_than_one_deadline(
    frozen: Callable[[bool], None], make_users: Any, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A follow took six to nine seconds: each step waited for itself, twice."""
    me, author, other = make_users(3)
    graph.follow(me, author)
    [photo] = publish(author)
    acts: dict[str, Callable[[], object]] = {
        "follow": lambda: graph.follow(me, other),
        "unfollow": lambda: graph.unfollow(me, author),
        "block": lambda: graph.block(me, author),
        "like": lambda: likes.like(me, photo),
        "delete": lambda: Photo.objects.get(pk=photo).delete(),
        "upload": lambda: publish(author),
    }
    frozen(True)
    began = time.monotonic()
    acts[change]()
    took = time.monotonic() - began
    frozen(False)
    assert took < ONE_COMMAND / 3, "not even one command's time"
    assert caplog.text.count("(Timeout") <= 1, "waited for once; the next steps did not even try"
    committed = {
        "follow": Follow.objects.count() == 2,
        "unfollow": not Follow.objects.exists(),
        "block": not Follow.objects.exists(),
        "like": Like.objects.exists(),
        "delete": not Photo.objects.exists(),
        "upload": Photo.objects.count() == 2,
    }
    assert committed[change]


def test_what_could_not_be_done_in_time_is_done_by_the_outbox(
    frozen: Callable[[bool], None], make_users: Any, redis: Any
) -> None:
    me, author, first = make_users(3)
    graph.follow(first, author)
    assert followers.ensure(author.pk), "there, also if this took too long for a commit"
    frozen(True)
    graph.follow(me, author)
    frozen(False)
    feeds_redis.ping()
    client = feeds_redis.client()
    client.delete(keys.receipts())
    settle()
    PendingChange.objects.all().delete()
    assert client.lrange(keys.followers(author.pk), 0, -1) == [str(u.pk).encode() for u in (first, me)]


def test_only_waiting_uses_patience_up(redis: Any) -> None:
    """A step that has much to do is not cut off."""
    with patience.bounded_by(Patience(0.2)):
        time.sleep(0.3)  # work of its own
        feeds_redis.ping()
        assert not patience.is_over()
        with patience.waiting():
            time.sleep(0.3)  # for a server
        assert patience.is_over()
        with pytest.raises(FeedsUnavailable, match="used up the time that a commit may take"):
            feeds_redis.ping()
    feeds_redis.ping()
    assert outbox.catch_up() == 0
