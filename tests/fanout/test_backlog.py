"""A queue that is longer than the lease: rescue and outboxes must not feed it, nor keep it waiting."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mydjangoapp.fanout import chain, rescue
from mydjangoapp.homefeed import feeds_redis, keys
from mydjangoapp.homefeed.delivery import Message
from mydjangoapp.models import FanOut
from tests.checker import fill, has_ended, state
from tests.ledger import Sent, publish

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")
LEASE = 3.0  # seconds, of the tests' site


class Backlog:
    """A queue in which time passes by hand: a photo's message is carried `lag` seconds after it was sent."""

    def __init__(self, author: Any, *, is_naive: bool = False) -> None:
        self.author = author
        self.is_naive = is_naive
        self.now = timezone.now().timestamp()
        self.waiting: list[tuple[int, int, float]] = []
        self.sent = 0

    def enqueue(self, photo: int, user: Any, cursor: int) -> bool:
        self.waiting.append((photo, cursor, self.now))
        self.sent += 1
        return True

    def pass_time(self, seconds: float) -> None:
        """Everything there is grows older."""
        back = timedelta(seconds=seconds)
        for row in FanOut.objects.all():
            heartbeat = row.heartbeat_at and row.heartbeat_at - back
            FanOut.objects.filter(pk=row.pk).update(created_at=row.created_at - back, heartbeat_at=heartbeat)
        self.waiting = [(photo, cursor, at - seconds) for photo, cursor, at in self.waiting]
        client: Any = feeds_redis.client()
        for key in client.scan_iter(keys.fanout("*", "*")):
            if client.hexists(key, "beat"):
                client.hincrbyfloat(key, "beat", -seconds)
        for field in ("front", "moved", "probed"):
            if client.hexists(keys.queue(), field):
                client.hincrbyfloat(keys.queue(), field, -seconds)

    def take(self) -> None:
        photo, cursor, at = self.waiting.pop(0)
        chain.carry(Message(photo, self.author.pk, cursor, sent_at=at), self.enqueue)

    def rescue(self) -> int:
        """`is_naive`: all that stood still for a lease, whether its message is lost or merely queued."""
        return rescue.rescue(self.enqueue, by_hand=self.is_naive).enqueued


@pytest.mark.parametrize("is_naive", [False, True], ids=["engine", "naive"])
def test_a_queue_twenty_leases_long_is_not_fed_by_the_rescue(
    author: Any, settings: Any, is_naive: bool
) -> None:
    """And by the naive rescue it is, which shows that this can fail."""
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "BATCH_SIZE": 10}
    fill(author.pk, 25)  # three batches a photo: links wait in the queue, too
    backlog = Backlog(author, is_naive=is_naive)
    photos = [publish(author) for _ in range(40)]
    for photo in photos:
        backlog.enqueue(photo, author.pk, 0)
    batches = 3 * len(photos)
    each = 20 * LEASE / batches  # the last one is taken twenty leases after the first
    while backlog.waiting and backlog.sent <= 2 * batches:
        backlog.pass_time(each)
        backlog.take()
        backlog.rescue()
    if is_naive:
        assert backlog.sent > 1.2 * batches
        return
    assert all(has_ended(photo) for photo in photos)
    assert batches <= backlog.sent <= 1.2 * batches


def test_workers_that_are_away_for_twenty_leases_find_few_messages_more(author: Any) -> None:
    fill(author.pk, 5)
    backlog = Backlog(author)
    photos = [publish(author) for _ in range(50)]
    for photo in photos:
        backlog.enqueue(photo, author.pk, 0)
    for _ in range(40):
        backlog.pass_time(LEASE / 2)
        backlog.rescue()
    while backlog.waiting:
        backlog.take()
        backlog.rescue()
    assert all(has_ended(photo) for photo in photos)
    assert len(photos) <= backlog.sent <= 1.2 * len(photos)


def test_one_lost_message_among_many_is_found_while_the_queue_moves(author: Any) -> None:
    fill(author.pk, 5)
    backlog = Backlog(author)
    lost, *photos = [publish(author) for _ in range(20)]
    for photo in photos:
        backlog.enqueue(photo, author.pk, 0)
    backlog.pass_time(2 * LEASE)
    backlog.take()
    assert backlog.rescue() == 0, "none of them has been overtaken"
    fresh = publish(author)
    backlog.waiting = [(fresh, 0, backlog.now)]  # what was sent later is taken: the others' messages are lost
    backlog.take()
    assert backlog.rescue() == len(photos)
    while backlog.waiting:
        backlog.take()
    assert has_ended(lost)


def test_a_broker_that_was_wiped_is_noticed_by_one_probe(author: Any) -> None:
    fill(author.pk, 5)
    photos = [publish(author) for _ in range(20)]
    backlog = Backlog(author)
    backlog.pass_time(2 * LEASE)
    assert backlog.rescue() == 1, "no message was taken: one asks whether a worker is there"
    backlog.take()
    assert backlog.rescue() == len(photos) - 1, "it has overtaken all others"
    assert Sent() == [] and state(photos[-1]) == "waiting"


def test_a_sender_whose_clock_is_ahead_does_not_make_all_others_look_lost(author: Any) -> None:
    fill(author.pk, 5)
    backlog = Backlog(author)
    ahead, *photos = [publish(author) for _ in range(20)]
    chain.carry(Message(ahead, author.pk, sent_at=backlog.now + 3_600), backlog.enqueue)
    backlog.pass_time(1.5 * LEASE)
    for photo in photos[:2]:
        backlog.enqueue(photo, author.pk, 0)
        backlog.waiting[-1] = (photo, 0, backlog.now - 1.5 * LEASE)  # sent when they were published
        backlog.take()
    assert backlog.rescue() == 0, "merely queued"
