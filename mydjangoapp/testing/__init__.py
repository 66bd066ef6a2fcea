"""Tests of a site that has home feeds: nothing of a test reaches the feeds of development, and no worker is
needed.

In a `TestCase`::

    class FeedTests(HomeFeedsMixin, TestCase):
        def test_a_follower_sees_the_photo(self):
            graph.follow(reader, author)
            photo = uploads.publish(author, description="Sunrise", photo_url="https://example.com/1.jpg")
            self.assertEqual([entry.photo for entry in feeds.page(reader)], [photo])

With pytest the fixtures of `pytest_plugin.py` do the same; they are there when the package is installed.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, ClassVar, NamedTuple
from unittest import TestCase

from celery import current_app
from django.test import override_settings
from more_itertools import batched

from ..conf import configured
from ..connections import database, in_place
from ..events import registry
from ..events.redis_streams.server import store as events_store
from ..events.redis_streams.transport import RedisStreams
from ..exceptions import FeedError
from ..homefeed import feeds_redis
from ..models.user_id import id_of

__all__ = [
    "FanOutCall",
    "HomeFeedsMixin",
    "deliveries_in_place",
    "feeds_from_sql",
    "isolated_keys",
    "recorded_fanouts",
]

logger = logging.getLogger(__name__)


class FanOutCall(NamedTuple):
    """A fan-out that would have been enqueued."""

    photo_id: int
    user_id: Any


@contextmanager
def isolated_keys() -> Iterator[str]:
    """A key prefix of its own, which it yields; every key under it is deleted at the end.

    So two tests never meet, nor a test and a site, on one Redis; ids that come again in each test are no
    matter.
    """
    _ = current_app.conf.task_default_queue  # named by the site's own prefix, for the whole run
    prefix = f"test-{secrets.token_hex(6)}:"
    with override_settings(MYDJANGOAPP={**configured(), "KEY_PREFIX": prefix}):
        try:
            yield prefix
        finally:
            _delete_keys(prefix)


def _delete_keys(prefix: str) -> None:
    stores = [feeds_redis.store()]
    transports = registry.all_there_are()
    stores += [events_store(one.url) for one in transports if isinstance(one, RedisStreams)]
    for store in stores:
        # Where Redis was away for the whole test there is nothing to delete.
        with suppress(FeedError), store.edge():
            client = store.client()
            for keys in batched(client.scan_iter(match=f"{prefix}*", count=1_000), 1_000):
                client.unlink(*keys)


@contextmanager
def recorded_fanouts() -> Iterator[list[FanOutCall]]:
    """Records what would be delivered, in the list that it yields, and delivers nothing. Commits of the
    test's own transaction are not waited for."""
    calls: list[FanOutCall] = []

    def record(task: Any, arguments: tuple[Any, ...], countdown: float) -> None:
        if task.name.endswith(".insert_into_homefeed"):
            calls.append(FanOutCall(arguments[0], id_of(arguments[1])))

    with _sending(record), database.without_waiting_for_commits():
        yield calls


@contextmanager
def deliveries_in_place() -> Iterator[None]:
    """Delivers in the test itself, to the last batch, before `uploads.publish` returns; in a transaction,
    too. Follows, likes and deletions reach Redis as soon. What was delivered is `done` at once."""
    with (
        override_settings(MYDJANGOAPP={**configured(), "SETTLE_SECONDS": 0.001}),
        _sending(in_place.run),
        database.without_waiting_for_commits(),
    ):
        yield


@contextmanager
def feeds_from_sql() -> Iterator[None]:
    """No Redis, no worker: feeds come from SQL, nothing is delivered, events are published nowhere. Nothing
    waits, and one line in the log says so."""
    off = {"REDIS_URL": "off", "EVENTS_URL": "off", "EVENTS_TOPICS": {}}
    logger.info("no Redis: feeds come from SQL")
    app_logger = logging.getLogger("mydjangoapp")
    level = app_logger.level
    with (
        override_settings(MYDJANGOAPP={**configured(), **off}),
        _sending(lambda *_: None),
    ):
        app_logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            app_logger.setLevel(level)


@contextmanager
def _sending(send: in_place.Send) -> Iterator[None]:
    before, in_place.instead = in_place.instead, send
    try:
        yield
    finally:
        in_place.instead = before


class HomeFeedsMixin(TestCase):
    """For Django's test cases, before `TestCase` among the bases: keys of its own for each test, deliveries
    in place. `home_feeds = "recorded"` records them in `self.fanouts` instead; `"from SQL"` does without
    Redis."""

    home_feeds: ClassVar[str] = "in place"
    fanouts: list[FanOutCall]

    def setUp(self) -> None:
        if self.home_feeds not in ("in place", "recorded", "from SQL"):
            raise ValueError(f"home_feeds is 'in place', 'recorded' or 'from SQL', not {self.home_feeds!r}.")
        stack = ExitStack()
        self.addCleanup(stack.close)
        if self.home_feeds == "from SQL":
            stack.enter_context(feeds_from_sql())
        else:
            stack.enter_context(isolated_keys())
            if self.home_feeds == "recorded":
                self.fanouts = stack.enter_context(recorded_fanouts())
            else:
                stack.enter_context(deliveries_in_place())
        super().setUp()
