"""One photo's way to its author's followers, a batch per message.

Of any number of messages for one batch one is let through (claim); where Redis knows nothing the ledger is
asked (begin); the batch is pushed (serve); when nobody is left the fan-out is settled (`settling.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from django.utils import timezone

from .. import domain_events, failpoints
from ..conf import conf
from ..connections import database
from ..exceptions import FollowersBeingRebuilt
from ..homefeed import delivery, followers
from ..homefeed.delivery import Beginning, Claim, Message, Status, Verdict
from ..models import FanOut, UserId, get_photo_model
from . import ledger

logger = logging.getLogger(__name__)

Enqueue = Callable[[int, UserId, int], bool]
"""Sends `insert_into_homefeed(photo_id, user_id, cursor)` to the broker."""


def carry(message: Message, enqueue: Enqueue) -> bool:
    """Serves one batch of followers; returns True if the caller has to enqueue the settling.

    May be called for the same message any number of times, one after the other or at once: each follower
    gets the photo once, and the chain goes on once. Raises `FeedsUnavailable`, `FeedsRefused` and
    `FollowersBeingRebuilt`, with nothing lost.
    """
    batch = _claim(message)
    while batch is not None:
        failpoints.reach("claimed", batch.photo_id)
        served = delivery.serve(batch, partial(enqueue, batch.photo_id, batch.author_id))
        if served.status is not Status.ABSENT:
            return served.is_settling_due
        batch = _begin(replace(message, redelivered=True))  # Redis has lost the chain meanwhile
    return False


def _claim(message: Message) -> Claim | None:
    """The batch that this message is to serve; None if there is nothing to do."""
    if message.is_first:
        return _begin(message)
    batch = delivery.claim(message)
    return _begin(message) if batch.verdict is Verdict.ABSENT else _granted(batch)


def _begin(message: Message) -> Claim | None:
    """The first batch of a fan-out that the ledger has as open; None if there is nothing to do.

    One query and one round trip where the follower list is there.
    """
    entry = ledger.entry_to_begin(message.photo_id, message.author_id)
    if entry is None:
        return None
    message = _of_the_author(message, entry.author_id)
    beginning = Beginning(
        guard=not message.is_first or _may_have_begun(entry),
        attempts=entry.attempts,
        pull_above=conf.PULL_ABOVE,
    )
    batch = delivery.begin(message, beginning)
    if batch.verdict is Verdict.UNLISTED:
        has_followers = followers.ensure(message.author_id)
        beginning = replace(beginning, without_followers=not has_followers)
        batch = delivery.begin(message, beginning)
    if batch.verdict is Verdict.LONG:
        if _is_left_to_readers(batch):
            return None
        batch = delivery.begin(message, replace(beginning, pull_above=None))
    return _granted(batch)


def _of_the_author(message: Message, author_id: UserId) -> Message:
    if str(author_id) == str(message.author_id):
        return message
    logger.warning(
        "photo %s is of user %s, not %s: serving its author's followers",
        message.photo_id,
        author_id,
        message.author_id,
    )
    return replace(message, author_id=author_id)


def _may_have_begun(entry: ledger.Entry) -> bool:
    """Whether followers may have the photo: from an earlier run, or in a list built from SQL long ago."""
    is_fresh = entry.state == FanOut.State.WAITING and 0 <= entry.age < delivery.GUARD_AFTER
    # On a single server what was pushed and what is known of it are lost together.
    may_be_forgotten = entry.heard_of_at is not None and delivery.may_forget()
    return entry.was_missing or may_be_forgotten or not is_fresh


def _is_left_to_readers(batch: Claim) -> bool:
    """Whether the author has too many followers to push to. The photo is then marked, so that readers find
    it whatever becomes of the setting and the author."""
    photo_id, author_id = batch.photo_id, batch.author_id
    # The list's length counts those who have left, too: SQL decides.
    if conf.PULL_ABOVE is None or not followers.are_more_than(author_id, conf.PULL_ABOVE):
        return False
    photos = get_photo_model()._base_manager.using(database.writer())
    photos.filter(id=photo_id).update(pulled=True)
    delivery.note_pulled(photo_id)
    total = batch.total
    with database.atomic():
        row = ledger.rows().of(photo_id)
        if row.finish(cursor=total, reached=total, total=total, started_at=timezone.now()):
            domain_events.fanouts_finished(row, {photo_id: author_id})
    return True


def _granted(batch: Claim) -> Claim | None:
    """The batch, if Redis has granted it and the ledger agrees."""
    if batch.verdict in (Verdict.ABSENT, Verdict.UNLISTED, Verdict.LONG):
        raise FollowersBeingRebuilt(
            f"The follower list of {batch.author_id} was replaced at this moment; try again."
        )
    if batch.verdict is Verdict.EXHAUSTED:
        why = f"gave up after {batch.attempts} starts without progress, {batch.cursor:,} followers served"
        ledger.give_up(batch.photo_id, batch.author_id, why, attempts=batch.attempts)
        return None
    if batch.is_ledger_due and not ledger.record(batch):
        # Ended meanwhile: its photo was deleted while Redis was away.
        delivery.cancel(batch.photo_id, batch.author_id)
        return None
    return batch if batch.granted else None
