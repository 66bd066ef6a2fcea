"""One upload carried to all followers by a real worker: any number of followers, no needless task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from devtools.servers import Server, wait_until
from mydjangoapp import graph, uploads
from mydjangoapp.homefeed import feeds_redis, keys
from mydjangoapp.models import FanOut, Follow, Photo
from mydjangoapp.tasks import insert_into_homefeed
from tests import servers
from tests.checker import ALL_ONCE, fill, outcome, quiet, runs, state, wait_for_end

TASK = "mydjangoapp.tasks.insert_into_homefeed"
URL = "https://example.com/photo.jpg"


@pytest.fixture
def publish(author: Any) -> Callable[[], int]:
    return lambda: int(uploads.publish(author, description="a photo", photo_url=URL).pk)


def test_any_number_of_followers_is_served_once_in_as_many_runs_as_batches(
    worker: Server, author: Any, publish: Callable[[], int], redis: Any, broker: Any
) -> None:
    for number, batches in [(0, 1), (1, 1), (9_999, 1), (10_000, 1), (10_001, 2), (20_000, 2), (35_000, 4)]:
        redis.delete(keys.followers(author.pk))
        present = fill(author.pk, number)
        before = runs(TASK, worker)
        photo = publish()
        assert wait_for_end(photo) == "done", number
        assert outcome(photo, present) == ALL_ONCE, number
        row = FanOut.objects.get(photo_id=photo)
        assert (row.reached, row.total, row.attempts) == (number, number, 1)
        wait_until(lambda: quiet(broker), seconds=20, what="no message is left")
        assert runs(TASK, worker) - before == batches, number


def test_the_author_has_his_own_photo_in_his_feed(
    worker: Server, author: Any, publish: Callable[[], int], redis: Any
) -> None:
    photo = publish()
    assert wait_for_end(photo) == "done"
    assert redis.lrange(keys.homefeed(author.pk), 0, -1) == [str(photo).encode()]


def test_newest_arrival_stands_first(
    worker: Server, author: Any, publish: Callable[[], int], redis: Any
) -> None:
    user = fill(author.pk, 1)[0]
    photos = []
    for _ in range(3):
        photos.append(publish())
        wait_for_end(photos[-1])
    assert [int(i) for i in redis.lrange(keys.homefeed(user), 0, -1)] == photos[::-1]


def test_a_missing_follower_list_is_rebuilt_from_sql_before_the_chain(
    worker: Server,
    author: Any,
    publish: Callable[[], int],
    redis: Any,
    make_users: Callable[[int], list[Any]],
) -> None:
    users = make_users(1_234)
    graph.follow_many(users, author)
    redis.flushall()
    photo = publish()
    assert wait_for_end(photo) == "done"
    assert outcome(photo, [user.pk for user in users]) == ALL_ONCE
    assert Follow.objects.count() == redis.llen(keys.followers(author.pk)) == 1_234


def test_a_message_that_comes_after_the_end_does_nothing(
    worker: Server, author: Any, publish: Callable[[], int], redis: Any
) -> None:
    present = fill(author.pk, 100)
    photo = publish()
    assert wait_for_end(photo) == "done"
    redis.delete(keys.fanout(author.pk, photo))  # a week later
    insert_into_homefeed.delay(photo, author.pk, 0)
    insert_into_homefeed.delay(photo, author.pk, 10_000)
    wait_until(lambda: runs(TASK, worker) >= 3, seconds=20, what="both messages are done with")
    assert outcome(photo, present) == ALL_ONCE
    assert not redis.exists(keys.fanout(author.pk, photo))


def test_one_wrong_typed_feed_is_counted_and_stops_nobody(
    worker: Server, author: Any, publish: Callable[[], int], redis: Any
) -> None:
    present = fill(author.pk, 12_000)
    wrong = present[7_777]
    redis.set(keys.homefeed(wrong), "not a list")
    photo = publish()
    assert wait_for_end(photo) == "done"
    assert outcome(photo, [user for user in present if user != wrong]) == ALL_ONCE
    assert redis.get(keys.homefeed(wrong)) == b"not a list"
    assert int(redis.hget(keys.fanout(author.pk, photo), "refused")) == 1
    assert FanOut.objects.get(photo_id=photo).reached == 11_999
    assert keys.homefeed(wrong) in worker.log.read_text()


def test_a_small_author_is_served_while_a_large_chain_runs(
    worker: Server,
    author: Any,
    publish: Callable[[], int],
    redis: Any,
    make_users: Callable[[int], list[Any]],
) -> None:
    small = make_users(1)[0]
    everyone = fill(author.pk, 400_000)
    few = range(1, 11)
    redis.rpush(keys.followers(small.pk), *few)
    large_photo = publish()
    wait_until(
        lambda: redis.exists(keys.fanout(author.pk, large_photo)), seconds=20, what="the large chain runs"
    )
    small_photo = uploads.publish(small, description="small", photo_url=URL).pk
    assert wait_for_end(small_photo) == "done"
    assert FanOut.objects.get(photo_id=large_photo).is_open, "the large chain should still be under way"
    assert outcome(small_photo, few) == ALL_ONCE
    assert wait_for_end(large_photo) == "done"
    assert outcome(large_photo, everyone) == ALL_ONCE


def test_a_photo_that_is_deleted_in_mid_chain_ends_as_cancelled(
    worker: Server, author: Any, publish: Callable[[], int], redis: Any, broker: Any
) -> None:
    everyone = fill(author.pk, 400_000)
    photo = publish()
    wait_until(lambda: redis.exists(keys.fanout(author.pk, photo)), seconds=20, what="the chain runs")
    Photo.objects.get(pk=photo).delete()
    assert wait_for_end(photo) == "cancelled"
    wait_until(lambda: quiet(broker), seconds=20, what="no message is left")
    assert outcome(photo, everyone).lost > 0, "it was to be stopped before everybody had it"
    assert not redis.exists(keys.fanout(author.pk, photo))
    assert not redis.exists(keys.running(author.pk))


@pytest.mark.skipif("cluster" not in servers.ON, reason="on one server a chain is carried batch by batch")
def test_workers_share_a_chain_on_a_cluster(
    workers: Callable[..., Server], author: Any, publish: Callable[[], int]
) -> None:
    """`BATCHES_IN_FLIGHT` of its batches are under way at once."""
    options = {"MYDJANGOAPP_BATCH_SIZE": "500", "MYDJANGOAPP_BATCHES_IN_FLIGHT": "4"}
    both = [workers(**options), workers(**options)]
    present = fill(author.pk, 50_000)
    photo = publish()
    most = 0

    def is_done() -> bool:
        nonlocal most
        batches = feeds_redis.client().hget(keys.fanout(author.pk, photo), "open") or b""
        most = max(most, len(batches.split()))
        return state(photo) == "done"

    wait_until(is_done, seconds=60, what="it is carried")
    assert outcome(photo, present) == ALL_ONCE
    assert most <= 4
    shares = [runs(TASK, worker) for worker in both]
    assert min(shares) > 0 and sum(shares) >= 100
