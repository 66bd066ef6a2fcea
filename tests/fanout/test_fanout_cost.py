"""What a small fan-out costs: statements in SQL and round trips to Redis, counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from redis.connection import AbstractConnection

from mydjangoapp.fanout import settling
from mydjangoapp.models import FanOut
from tests.checker import ALL_ONCE, fill, has_ended, outcome, state
from tests.ledger import Sent, carry, let_time_pass, publish, settled

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")


@contextmanager
def round_trips() -> Iterator[list[int]]:
    """A list that grows by one with each packet that is sent to a Redis."""
    sent: list[int] = []
    original = AbstractConnection.send_packed_command

    def send(self: AbstractConnection, command: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(1)
        return original(self, command, *arguments, **options)  # type: ignore[no-untyped-call]

    AbstractConnection.send_packed_command = send  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        AbstractConnection.send_packed_command = original  # type: ignore[method-assign]


@pytest.fixture
def warm(author: Any) -> range:
    """Fifty followers, and scripts that Redis knows."""
    followers = fill(author.pk, 50)
    photo = publish(author)
    carry(photo, author)
    carry(photo, author, redelivered=True)
    assert settled(photo) == "done"
    return followers


def test_a_small_fanout_reads_one_row_writes_none_and_takes_one_round_trip(author: Any, warm: range) -> None:
    photo = publish(author)
    with CaptureQueriesContext(connection) as statements, round_trips() as trips:
        carry(photo, author)
    assert [statement["sql"].split()[0] for statement in statements] == ["SELECT"]
    assert len(trips) == 1
    assert outcome(photo, warm) == ALL_ONCE
    assert has_ended(photo)
    assert state(photo) == "waiting", "written when it is settled"


def test_a_message_that_comes_again_costs_one_row_and_one_round_trip(author: Any, warm: range) -> None:
    photo = publish(author)
    carry(photo, author)
    with CaptureQueriesContext(connection) as statements, round_trips() as trips:
        carry(photo, author)
        carry(photo, author, redelivered=True)
    assert (len(statements), len(trips)) == (1, 2)


def settle_at_once(author: Any, number: int) -> tuple[int, int]:
    """Settles so many fan-outs in one call; returns its statements and round trips."""
    photos = [publish(author) for _ in range(number)]
    for photo in photos:
        carry(photo, author)
        let_time_pass(photo)
    with CaptureQueriesContext(connection) as statements, round_trips() as trips:
        settling.settle(Sent(), Sent())
    assert FanOut.objects.filter(photo_id__in=photos, state="done", reached=50, attempts=1).count() == number
    return len(statements), len(trips)


def test_many_fanouts_are_settled_with_as_many_statements_as_one(author: Any, warm: range) -> None:
    assert settle_at_once(author, 50) == settle_at_once(author, 1)


def test_a_link_in_the_middle_costs_no_statement(author: Any, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "BATCH_SIZE": 10}
    fill(author.pk, 35)
    photo = publish(author)
    carry(photo, author)
    with CaptureQueriesContext(connection) as statements:
        assert carry(photo, author, 10) == [(photo, author.pk, 20)]
    assert not statements.captured_queries
