"""What would grow for ever, and what must not be pruned."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from mydjangoapp import graph, uploads
from mydjangoapp.events import publish
from mydjangoapp.events.registry import for_topic
from mydjangoapp.fanout import chain
from mydjangoapp.homefeed import followers, keys, verify
from mydjangoapp.homefeed.delivery import Message
from mydjangoapp.models import FanOut, Photo, UploadKey
from mydjangoapp.ops.pruning import prune
from tests import ledger
from tests.checker import fill, outcome

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")
LONG_AGO = timedelta(days=400)


def pruned() -> str:
    out = StringIO()
    call_command("prune", stdout=out)
    return out.getvalue()


def test_old_idempotency_keys_go_and_young_ones_stay(author: Any) -> None:
    for key in ("old", "young"):
        uploads.publish(author, description="x", photo_url="https://example.com/x.jpg", idempotency_key=key)
    UploadKey.objects.filter(key="old").update(created_at=timezone.now() - LONG_AGO)
    assert "1 upload keys" in pruned()
    assert [row.key for row in UploadKey.objects.all()] == ["young"]
    assert Photo.objects.count() == 2


def test_fanouts_that_have_ended_long_ago_go_and_all_others_stay(author: Any) -> None:
    states = ["done", "cancelled", "failed", "waiting", "running", "done"]
    photos = [ledger.publish(author) for _ in states]
    for photo, state in zip(photos, states, strict=True):
        FanOut.objects.filter(photo_id=photo).update(state=state, created_at=timezone.now() - LONG_AGO)
    FanOut.objects.filter(photo_id=photos[-1]).update(created_at=timezone.now())
    assert "2 fanouts" in pruned()
    assert [row.state for row in FanOut.objects.order_by("id")] == ["failed", "waiting", "running", "done"]


def test_a_message_of_a_fanout_that_was_pruned_does_nothing(author: Any) -> None:
    users = fill(author.pk, 5)
    photo = ledger.publish(author)
    ledger.carry(photo, author)
    ledger.settled(photo)
    for model in (Photo, FanOut):
        model.objects.update(created_at=timezone.now() - LONG_AGO)
    prune()
    assert not FanOut.objects.exists()
    ledger.followers_client().delete(keys.fanout(author.pk, photo), *(keys.homefeed(user) for user in users))
    chain.carry(Message(photo, author.pk), ledger.Sent())
    assert outcome(photo, [], absent=users).unexpected == 0
    assert not FanOut.objects.exists()


def test_verify_still_knows_what_a_pruned_fanout_has_brought(make_users: Any, redis: Any) -> None:
    me, author = make_users(2)
    graph.follow(me, author)
    followers.compact(author.pk)
    photo = ledger.publish(author)
    ledger.carry(photo, author)
    ledger.settled(photo)
    for model in (Photo, FanOut):
        model.objects.update(created_at=timezone.now() - LONG_AGO)
    prune()
    redis.rpush(keys.homefeed(me.pk), ledger.publish(author))
    redis.set(keys.floor(me.pk), 0)
    assert verify.feed(me.pk) == []
    redis.lrem(keys.homefeed(me.pk), 0, photo)
    [difference] = verify.feed(me.pk)
    assert difference.ids == (str(photo),)


def test_receipts_without_a_row_go(redis: Any) -> None:
    now = redis.time()[0]
    redis.zadd(keys.receipts(), {"1": now - LONG_AGO.total_seconds(), "2": now})
    assert "1 receipts" in pruned()
    assert redis.zrange(keys.receipts(), 0, -1) == [b"2"]


def test_old_dead_letters_go_and_young_ones_stay(redis: Any, settings: Any) -> None:
    transport = for_topic("orders")
    assert transport is not None
    consumer = transport.consumer("orders", "mine", timeout=30)
    publish("orders", "order.paid", {"id": 7})
    consumer.bury(consumer.take(1, 1)[0], "no such order")
    assert "0 dead letters" in pruned()
    assert transport.prune(-2) == 1, "older than in two seconds"
    assert list(transport.dead_letters("orders", "mine")) == []
