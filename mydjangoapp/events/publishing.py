"""Publishes messages together with the transaction, and loses none.

Inside a transaction the messages are rows of it (a transactional outbox, as the fan-outs are): they go
out when it commits and not before. Redis writes a receipt in the step that appends them; a row without
one is sent by the rescue: its process died then, Redis was away, or lost its last second in a crash,
and the receipt with it. Each message has its id from the beginning, so one that was sent twice is
handled once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import router, transaction
from django.utils import timezone
from more_itertools import batched, map_reduce

from ..conf import conf
from ..connections import database
from ..connections.paging import in_pages
from ..connections.patience import Budget
from ..exceptions import BadEvent, EventsRefused, FeedError
from ..models import Publication
from .message import Outgoing
from .registry import for_topic
from .transport import Transport

logger = logging.getLogger(__name__)

ROW = 500  # messages a row of the outbox: a row of small ones has some 100 kB
CLAIM_SECONDS = 5.0  # a process that has not sent its row by then has died, or will find it sent
ROWS_AT_ONCE = 1_000
ROWS_LOADED = 100  # with their messages
REFUSALS = 3  # of one topic among 1,000 rows


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
            _send_or_note(transport, messages, delay)
    return [message.id for message in messages]


def _send_or_note(transport: Transport, messages: Sequence[Outgoing], delay: float) -> None:
    left = list(messages)
    try:
        while left:
            transport.publish(left[0].topic, left[:ROW], delay)
            del left[:ROW]
    except FeedError as error:
        logger.warning("%d messages to %s wait in the outbox: %s", len(left), left[0].topic, error)
        _note(left, delay, then_send=False)


def _note(messages: Sequence[Outgoing], delay: float, *, then_send: bool) -> None:
    now = timezone.now()
    due_at = now + timedelta(seconds=delay) if delay else None
    for some in batched(messages, ROW):
        row = Publication.objects.create(
            topic=some[0].topic,
            action=some[0].action,
            receipt=some[0].id,
            messages=[[one.id, one.body] for one in some],
            published_at=some[0].published_at,
            due_at=due_at,
            claimed_at=now if then_send else None,
        )
        if then_send:
            _send_on_commit(row)


def _send_on_commit(row: Publication) -> None:
    def send() -> None:
        try:
            _send_row(row)
        except FeedError as error:
            logger.warning("%s wait in the outbox: %s", row, error)

    database.on_commit(send, using=row._state.db)


def _send_row(row: Publication) -> None:
    transport = for_topic(row.topic)
    if transport is not None:  # else it was switched off meanwhile
        delay = max(0.0, (row.due_at - timezone.now()).total_seconds()) if row.due_at else 0
        messages = [
            Outgoing(id_, row.topic, row.action, body, row.published_at) for id_, body in row.messages
        ]
        transport.publish(row.topic, messages, min(delay, transport.longest_delay), receipt=row.receipt)
    if transport is None or not transport.gives_receipts:
        Publication.objects.filter(pk=row.pk).delete()


def send_waiting(budget: Budget | None = None) -> int:
    """Sends what waits in the outbox, until the budget is spent; returns how many rows. Any number of
    processes may do it at once.

    A row is deleted when its transport has held it for `SETTLE_SECONDS`, or at once if the transport cannot
    report a crash. A row that is refused is left for later and does not stop the others. Raises
    the `FeedError` of a topic that cannot be sent to, when the others have been served.
    """
    sent = 0
    away: dict[str, FeedError] = {}
    settled_before = timezone.now() - timedelta(seconds=conf.SETTLE_SECONDS)
    waiting = Publication.objects.filter(created_at__lt=settled_before)
    for some in in_pages(waiting.values_list("pk", "topic", "receipt"), size=ROWS_AT_ONCE):
        for topic, rows in map_reduce(some, keyfunc=lambda row: row[1]).items():
            if topic in away:
                continue
            try:
                sent += _settle(topic, {receipt: pk for pk, _, receipt in rows}, budget)
            except FeedError as error:
                logger.error("messages to %s wait in the outbox: %s", topic, error)
                away[topic] = error
        if budget and budget.is_spent:
            break
    if away:
        raise next(iter(away.values()))
    return sent


def _settle(topic: str, rows: dict[str, int], budget: Budget | None) -> int:
    transport = for_topic(topic)
    receipts = list(rows)
    if transport is None or not transport.gives_receipts:
        ages: Sequence[float | None] = [None] * len(receipts)
    else:
        ages = transport.receipts_held_for(topic, receipts)
        pairs = zip(receipts, ages, strict=True)
        if held := [one for one, age in pairs if age is not None and age >= conf.SETTLE_SECONDS]:
            Publication.objects.filter(pk__in=[rows[one] for one in held]).delete()
            transport.forget_receipts(topic, held)
    late = [rows[one] for one, age in zip(receipts, ages, strict=True) if age is None]
    sent = refused = 0
    for row in Publication.objects.filter(pk__in=late).order_by("id").iterator(ROWS_LOADED):
        if budget and budget.is_spent:
            break
        try:
            sent += _send_late(row)
        except EventsRefused as error:
            logger.error("%s wait in the outbox: %s", row, error)
            refused += 1
            if refused == REFUSALS:
                break  # the rest of these would be, too, and other topics wait behind them
    return sent


def _send_late(row: Publication) -> bool:
    """Sends the row if no other process does so at this moment; True if it was sent."""
    now = timezone.now()
    if row.claimed_at is not None and row.claimed_at > now - timedelta(seconds=CLAIM_SECONDS):
        return False
    if not Publication.objects.filter(pk=row.pk, claimed_at=row.claimed_at).update(claimed_at=now):
        return False
    try:
        _send_row(row)
    except FeedError:
        Publication.objects.filter(pk=row.pk).update(claimed_at=None)
        raise
    return True
