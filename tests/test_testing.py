"""What a site's own tests get. They run here as they would there: in transactions, without a worker."""

from __future__ import annotations

import logging
from collections.abc import Callable
from logging.handlers import QueueHandler
from queue import SimpleQueue
from threading import enumerate as all_threads
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.test import TestCase, override_settings

from mydjangoapp import feeds, graph, likes, uploads
from mydjangoapp.conf import conf
from mydjangoapp.homefeed import feeds_redis, keys
from mydjangoapp.models import FanOut
from mydjangoapp.testing import FanOutCall, HomeFeedsMixin, isolated_keys
from tests.feeds import fields_of, logged_in, truth_of

pytestmark = pytest.mark.usefixtures("redis_server")


def with_batches_of(number: int) -> Any:
    """Small ones."""
    from django.conf import settings

    return override_settings(MYDJANGOAPP={**settings.MYDJANGOAPP, "BATCH_SIZE": number, "SLICE_SIZE": 1})


def people(number: int) -> list[Any]:
    """Users of a site's test."""
    user = get_user_model()
    return [user.objects.create(**{user.USERNAME_FIELD: f"user{n}@example.com"}) for n in range(number)]


class InPlace(HomeFeedsMixin, TestCase):
    def test_a_photo_is_delivered_before_publish_returns_in_any_number_of_batches(self) -> None:
        author, *readers = people(31)
        threads = all_threads()
        with with_batches_of(2):
            graph.follow_many(readers, author)
            photo = uploads.publish(author, **fields_of("Sunrise"))
        fanout = FanOut.objects.get(photo=photo)
        assert (fanout.state, fanout.reached, fanout.total) == ("done", 30, 30)
        redis: Any = feeds_redis.client()
        for reader in readers:
            assert redis.lrange(keys.homefeed(reader.pk), 0, -1) == [str(photo.pk).encode()]
            assert [entry.photo for entry in feeds.page(reader)] == [photo]
        assert all_threads() == threads, "no thread, and no connection of one, is left"
        assert len(connections.all(initialized_only=True)) == 1

    def test_likes_unfollows_and_deletions_are_seen_at_once(self) -> None:
        reader, author = people(2)
        graph.follow(reader, author)
        photo = uploads.publish(author, **fields_of("Sunrise"))
        likes.like(reader, photo.pk)
        client = logged_in(reader)
        [entry] = client.get("/feed/").json()["results"]
        assert (entry["like_count"], entry["liked"]) == (1, True)
        graph.unfollow(reader, author)
        assert client.get("/feed/").json()["results"] == []
        graph.follow(reader, author)
        photo.delete()
        assert client.get("/feed/").json()["results"] == [] == truth_of(reader)

    def test_the_keys_are_this_tests_own(self) -> None:
        assert conf.KEY_PREFIX.startswith("test-")
        assert keys.homefeed(1).startswith(conf.KEY_PREFIX)


class Recorded(HomeFeedsMixin, TestCase):
    home_feeds = "recorded"

    def test_nothing_is_delivered(self) -> None:
        reader, author = people(2)
        graph.follow(reader, author)
        photo = uploads.publish(author, **fields_of("Sunrise"))
        assert self.fanouts == [FanOutCall(photo.pk, author.pk)]
        assert FanOut.objects.get(photo=photo).state == "waiting"


class FromSql(HomeFeedsMixin, TestCase):
    home_feeds = "from SQL"

    def test_feeds_need_no_redis_and_nobody_is_told_six_times(self) -> None:
        reader, author = people(2)
        said: list[logging.LogRecord] = []
        handler = QueueHandler(SimpleQueue())
        handler.enqueue = said.append  # type: ignore[assignment,method-assign]  # keeps them here
        logging.getLogger().addHandler(handler)
        self.addCleanup(logging.getLogger().removeHandler, handler)
        with self.captureOnCommitCallbacks(execute=True):
            graph.follow(reader, author)
            photo = uploads.publish(author, **fields_of("Sunrise"))
            likes.like(reader, photo.pk)
            assert [(entry.photo, entry.liked) for entry in feeds.page(reader)] == [(photo, True)]
            assert logged_in(reader).get("/feed/").status_code == 200
            photo.delete()
            assert not feeds.page(reader).entries
        assert [record.getMessage() for record in said if record.levelno > logging.INFO] == []


def test_a_word_that_is_none_of_the_three_is_refused() -> None:
    class Wrong(HomeFeedsMixin, TestCase):
        home_feeds = "somehow"

    with pytest.raises(ValueError, match="'in place', 'recorded' or 'from SQL', not 'somehow'"):
        Wrong().setUp()


def test_fixtures_deliver(home_feeds: None, make_users: Callable[[int], list[Any]]) -> None:
    reader, author = make_users(2)
    graph.follow(reader, author)
    photo = uploads.publish(author, **fields_of("x"))
    assert [entry.photo for entry in feeds.page(reader)] == [photo]


def test_fixtures_record(recorded_fanouts: list[FanOutCall], make_users: Callable[[int], list[Any]]) -> None:
    [author] = make_users(1)
    photo = uploads.publish(author, **fields_of("x"))
    assert [call.photo_id for call in recorded_fanouts] == [photo.pk]


def test_fixtures_do_without_redis(feeds_from_sql: None, pair: Any) -> None:
    reader, author = pair
    photo = uploads.publish(author, **fields_of("x"))
    assert [entry.photo for entry in feeds.page(reader)] == [photo]


def test_nothing_of_a_test_stays_and_nothing_else_goes(redis: Any, transactional_db: None, pair: Any) -> None:
    reader, author = pair
    redis.set("somebody-elses", 1)
    graph.follow(author, reader)
    before = sorted(redis.keys("*"))
    with isolated_keys() as prefix:
        graph.unfollow(reader, author)
        graph.follow(reader, author)
        feeds.page(reader)
        uploads.publish(author, **fields_of("x"))
        assert [key for key in redis.keys("*") if key.startswith(prefix.encode())]
    assert sorted(redis.keys("*")) == before


def test_eager_tasks_take_any_number_of_batches(
    redis: Any, transactional_db: None, pair: Any, settings: Any
) -> None:
    """Without the mixin: a site that sets `task_always_eager`."""
    from celery import current_app

    reader, author = pair
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "BATCH_SIZE": 1, "SLICE_SIZE": 1}
    graph.follow_many(people(5), author)
    current_app.conf.task_always_eager = True
    try:
        photo = uploads.publish(author, **fields_of("x"))
    finally:
        current_app.conf.task_always_eager = False
    assert redis.llen(keys.homefeed(reader.pk)) == 1
    assert FanOut.objects.get(photo=photo).photo_id == photo.pk
    assert redis.scard(keys.running(author.pk)) == 0
