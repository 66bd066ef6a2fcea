"""Publishing: with the transaction, surely, and never half."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from django.db import transaction
from django.utils import timezone

from devtools.servers import ROOT, RedisServer, free_port, wait_until
from mydjangoapp.events import publish, publish_many
from mydjangoapp.events.publishing import send_waiting
from mydjangoapp.events.redis_streams import keys
from mydjangoapp.events.redis_streams.server import beside_the_feeds, store
from mydjangoapp.events.registry import for_topic
from mydjangoapp.events.transport import Consumer
from mydjangoapp.exceptions import BadEvent, EventsUnavailable
from mydjangoapp.models import Publication
from tests.events.conftest import ids, take, take_all, take_nothing
from tests.faults.test_feeds_redis import append_only_file

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def consumer(redis: Any, topic: str) -> Iterator[Consumer]:
    """Of the topic, from now on."""
    yield from consumer_of(topic)


def consumer_of(topic: str) -> Iterator[Consumer]:
    """From now on, closed at the end."""
    transport = for_topic(topic)
    assert transport is not None
    made = transport.consumer(topic, "one", timeout=30)
    yield made
    made.close()


def settled() -> None:
    """What has been sent is forgotten when Redis has held it for a moment."""
    wait_until(lambda: not (send_waiting() or Publication.objects.exists()), seconds=10, what="all settled")


def test_it_goes_out_on_commit_and_not_before(consumer: Consumer, topic: str) -> None:
    with transaction.atomic():
        sent = publish(topic, "a", {"n": 1})
        take_nothing(consumer)
    assert ids(take(consumer, 1)) == [sent]
    settled()
    take_nothing(consumer)


def test_what_is_rolled_back_was_never_published(consumer: Consumer, topic: str) -> None:
    with transaction.atomic():
        publish(topic, "a", {"n": 1})
        transaction.set_rollback(True)
    take_nothing(consumer)
    assert not Publication.objects.exists()


def test_without_a_transaction_it_goes_at_once(consumer: Consumer, topic: str) -> None:
    sent = publish_many(topic, "a", ({"n": n} for n in range(1_200)))
    assert ids(take(consumer, 1_200)) == sent
    assert not Publication.objects.exists()


def test_order_is_kept_in_a_transaction(consumer: Consumer, topic: str) -> None:
    with transaction.atomic():
        sent = [publish(topic, "a", {"n": n}) for n in range(5)]
        sent += publish_many(topic, "a", [{"n": n} for n in range(5, 1_100)])
    assert ids(take(consumer, 1_100)) == sent


DIES = """
import os, django
django.setup()
from django.db import transaction
from mydjangoapp.events import publish
with transaction.atomic():
    transaction.on_commit(lambda: os._exit(9))
    print(publish({topic!r}, "a", {{"n": 1}}), flush=True)
"""


def test_it_is_not_lost_if_the_process_dies_right_after_the_commit(
    consumer: Consumer, topic: str, transactional_db: None
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", DIES.format(topic=topic)],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "proj.settings"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 9, run.stderr
    take_nothing(consumer)
    assert send_waiting() == 0, "somebody may be sending it at this moment"
    Publication.objects.update(claimed_at=timezone.now() - timedelta(seconds=6))
    wait_until(lambda: send_waiting() == 1, seconds=10, what="it is sent")
    assert ids(take(consumer, 1)) == [run.stdout.strip()]
    assert send_waiting() == 0


def test_it_is_not_lost_if_redis_loses_its_last_writes_in_a_crash(
    tmp_path: Path, topic: str, settings: Any, transactional_db: None
) -> None:
    with RedisServer.at(tmp_path / "redis", append_only=True) as server:
        settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_URL": server.url(3), "SETTLE_SECONDS": 1.0}
        transport = for_topic(topic)
        assert transport is not None
        transport.subscribe(topic, "one")
        before = publish(topic, "a", {"n": 0})
        size = all_on_disk(server)
        with transaction.atomic():
            lost = publish(topic, "a", {"n": 1})
        server.kill()
        with append_only_file(server).open("r+b") as file:
            file.truncate(size)
        server.start()
        consumer = transport.consumer(topic, "one", timeout=30)
        assert ids(take_all(consumer, 0.3)) == [before], "the crash took it back"
        Publication.objects.update(claimed_at=None)
        wait_until(lambda: send_waiting() == 1, seconds=10, what="it is sent again")
        assert ids(take(consumer, 1)) == [lost]
        settled()
        take_nothing(consumer)


def all_on_disk(server: RedisServer) -> int:
    """Writes a new append-only file; returns its length."""
    client = redis_py.Redis(port=server.port, protocol=2)

    def is_quiet() -> bool:
        return not client.info("persistence")["aof_rewrite_in_progress"]

    wait_until(is_quiet, seconds=30, what="no rewrite runs")
    client.bgrewriteaof()
    wait_until(is_quiet, seconds=30, what="it is written")
    return append_only_file(server).stat().st_size


def test_what_could_not_be_sent_waits_and_is_sent_later(
    consumer: Consumer, topic: str, settings: Any
) -> None:
    here = settings.MYDJANGOAPP
    settings.MYDJANGOAPP = {**here, "EVENTS_URL": f"redis://127.0.0.1:{free_port()}/3"}
    outside = publish(topic, "a", {"n": 1})
    with transaction.atomic():
        inside = publish_many(topic, "a", [{"n": 2}, {"n": 3}])
    assert Publication.objects.count() == 2
    settings.MYDJANGOAPP = here
    Publication.objects.update(claimed_at=None)
    sent: list[int] = []

    def all_are_sent() -> bool:
        sent.append(send_waiting())
        return sum(sent) == 2

    wait_until(all_are_sent, seconds=10, what="both are sent")
    taken = take(consumer, 3)
    assert ids(taken) == [outside, *inside]
    settled()
    take_nothing(consumer)


def test_a_row_that_is_refused_does_not_stop_the_others(consumer: Consumer, topic: str, redis: Any) -> None:
    store(beside_the_feeds()).client().set(keys.stream("wrong"), "a string")
    refused = publish("wrong", "a", {})
    waits = publish(topic, "a", {})
    Publication.objects.create(
        topic=topic,
        action="a",
        receipt="later",
        messages=[["later", "{}"]],
        published_at="2026-01-01T00:00:00Z",
    )
    wait_until(lambda: send_waiting() == 1, seconds=10, what="the other is sent")
    assert ids(take(consumer, 2)) == [waits, "later"]
    wait_until(
        lambda: not send_waiting() and Publication.objects.count() == 1, seconds=10, what="one is left"
    )
    assert Publication.objects.get().receipt == refused


def test_a_delay_goes_on_counting_while_it_waits(consumer: Consumer, topic: str, settings: Any) -> None:
    here = settings.MYDJANGOAPP
    settings.MYDJANGOAPP = {**here, "EVENTS_URL": f"redis://127.0.0.1:{free_port()}/3"}
    sent = publish(topic, "a", {}, delay=3_600)
    settings.MYDJANGOAPP = here
    Publication.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    wait_until(lambda: send_waiting() == 1, seconds=10, what="it is sent")
    assert ids(take(consumer, 1)) == [sent]


@pytest.mark.parametrize(
    ("topic_", "action", "body", "delay", "field"),
    [
        ("with space", "a", {}, 0, "topic"),
        ("", "a", {}, 0, "topic"),
        ("x" * 65, "a", {}, 0, "topic"),
        ("fine", "", {}, 0, "action"),
        ("fine", "x" * 101, {}, 0, "action"),
        ("fine", "a", [], 0, "body"),
        ("fine", "a", None, 0, "body"),
        ("fine", "a", {"n": float("nan")}, 0, "body"),
        ("fine", "a", {"n": object()}, 0, "body"),
        ("fine", "a", {"n": "x" * 1_000_001}, 0, "body"),
        ("fine", "a", {}, -1, "delay"),
    ],
)
def test_bad_messages_are_refused_by_field(
    redis: Any, topic_: str, action: str, body: Any, delay: float, field: str
) -> None:
    with pytest.raises(BadEvent) as caught:
        publish_many(topic_, action, [{"fine": 1}, body], delay=delay)
    assert caught.value.field == field
    assert not Publication.objects.exists()


def test_dates_and_decimals_are_written_as_text(consumer: Consumer, topic: str) -> None:
    publish(topic, "a", {"at": datetime(2026, 1, 2, tzinfo=UTC), "price": Decimal("1.50"), "ü": "ß"})
    [taken] = take(consumer, 1)
    assert taken.opened() == {"at": "2026-01-02T00:00:00Z", "price": "1.50", "ü": "ß"}


def test_switched_off_topics_cost_nothing(consumer: Consumer, topic: str, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_TOPICS": {topic: "off"}}
    with transaction.atomic():
        publish(topic, "a", {})
        assert not Publication.objects.exists()
    take_nothing(consumer)


def test_a_topic_that_is_away_does_not_stop_the_others(consumer: Consumer, topic: str, settings: Any) -> None:
    here = settings.MYDJANGOAPP
    away = f"redis://127.0.0.1:{free_port()}/3"
    settings.MYDJANGOAPP = {**here, "EVENTS_URL": away}
    publish("elsewhere", "a", {})
    sent = publish(topic, "a", {})
    settings.MYDJANGOAPP = {**here, "EVENTS_TOPICS": {"elsewhere": away}}
    wait_until(lambda: not _tried(), seconds=10, what="it has settled")
    assert ids(take(consumer, 1)) == [sent]
    assert Publication.objects.filter(topic="elsewhere").exists()


def _tried() -> bool:
    """Whether something but the topic that is away still waits."""
    with suppress(EventsUnavailable):
        send_waiting()
    return Publication.objects.exclude(topic="elsewhere").exists()
