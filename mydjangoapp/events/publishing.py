"""Publishing: with the transaction, and surely.

Inside a transaction the messages are rows of it (a transactional outbox, as the fan-outs are): they go
out when it commits and not before, and if the process dies then, or what carries them is away, the
rescue sends them. Each has its id from the beginning, so a message that was sent twice is handled once.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import router, transaction
from django.db.models import Q
from django.utils import timezone
from more_itertools import batched

from ..exceptions import BadEvent, EventsRefused, FeedError
from ..models import Publication
from .message import Outgoing
from .transport import Transport, for_topic

logger = logging.getLogger(__name__)

ROW = 500  # messages a row of the outbox: a row of small ones has some 100 kB
CLAIM_SECONDS = 5.0  # who has not sent a row by then has died, or will find it sent
ROWS_AT_ONCE = 100


def publish(topic: str, action: str, body: Mapping[str, Any], *, delay: float = 0) -> str:
    """Publishes a JSON object; returns the message's id.

    In a transaction it goes out on commit. Never raises because what carries it is away: it waits in SQL
    then. `delay`: seconds before it is delivered. Raises `BadEvent` for a bad name, body or delay.
    """
    return publish_many(topic, action, [body], delay=delay)[0]


def publish_many(
    topic: str, action: str, bodies: Iterable[Mapping[str, Any]], *, delay: float = 0
) -> list[str]:
    """Publishes many in this order; returns their ids. All or, if one is bad, none. See `publish`."""
    messages = [Outgoing.new(topic, action, body) for body in bodies]
    transport = for_topic(topic)
    longest = transport.longest_delay if transport else Transport.longest_delay
    if not 0 <= delay <= longest:
        raise BadEvent("delay", f"must be between 0 and {longest:,.0f} seconds, not {delay!r}.")
    if messages and transport is not None:
        if transaction.get_connection(router.db_for_write(Publication)).in_atomic_block:
            _note(messages, delay, then_send=True)
        else:
            _send_or_note(messages, delay)
    return [message.id for message in messages]


def _send_or_note(messages: Sequence[Outgoing], delay: float) -> None:
    left = list(messages)
    try:
        while left:
            _send(left[:ROW], delay)
            del left[:ROW]
    except FeedError as error:
        logger.warning("%d messages to %s wait in the outbox: %s", len(left), left[0].topic, error)
        _note(left, delay, then_send=False)


def _send(messages: Sequence[Outgoing], delay: float) -> None:
    transport = for_topic(messages[0].topic)
    if transport is not None:  # else it was switched off meanwhile
        transport.publish(messages[0].topic, messages, delay)


def _note(messages: Sequence[Outgoing], delay: float, *, then_send: bool) -> None:
    now = timezone.now()
    due_at = now + timedelta(seconds=delay) if delay else None
    for some in batched(messages, ROW):
        row = Publication.objects.create(
            topic=some[0].topic,
            action=some[0].action,
            messages=[[one.id, one.body] for one in some],
            published_at=some[0].published_at,
            due_at=due_at,
            claimed_at=now if then_send else None,
        )
        if then_send:
            _send_on_commit(row)


def _send_on_commit(row: Publication) -> None:
    def send() -> None:
        with contextlib.suppress(FeedError):
            _send_row(row)

    transaction.on_commit(send, using=row._state.db, robust=True)


def _send_row(row: Publication) -> None:
    """Sends a row that is claimed, and deletes it; or lets go of it if that cannot be done now."""
    delay = max(0.0, (row.due_at - timezone.now()).total_seconds()) if row.due_at else 0
    messages = [Outgoing(id_, row.topic, row.action, body, row.published_at) for id_, body in row.messages]
    try:
        _send(messages, delay)
    except FeedError as error:
        logger.warning("%s wait in the outbox: %s", row, error)
        Publication.objects.filter(pk=row.pk).update(claimed_at=None)
        raise
    Publication.objects.filter(pk=row.pk).delete()


def send_waiting() -> int:
    """Sends what waits in the outbox; returns how many rows. Any number of processes may do it at once.

    One that is refused is left for later and does not stop the others. Raises `EventsUnavailable`.
    """
    sent = last = 0
    while True:
        left_alone = Q(claimed_at=None) | Q(claimed_at__lt=timezone.now() - timedelta(seconds=CLAIM_SECONDS))
        some = list(Publication.objects.filter(left_alone, id__gt=last).order_by("id")[:ROWS_AT_ONCE])
        for row in some:
            last = row.pk
            mine = Publication.objects.filter(pk=row.pk, claimed_at=row.claimed_at)
            if not mine.update(claimed_at=timezone.now()):
                continue
            try:
                _send_row(row)
                sent += 1
            except EventsRefused:
                continue
        if len(some) < ROWS_AT_ONCE:
            return sent
