"""The Celery tasks: ids in, one call. Each may run twice, at once or later, without harm.

What they need of Celery is set here and not left to the site: late acknowledgement (a worker that
dies leaves the message with the broker), JSON, no results.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import shared_task
from celery.signals import worker_ready

from . import failpoints, outbox
from .circles import keys as circle_keys
from .circles import projection
from .conf import conf
from .connections import broker, database
from .connections.patience import Budget
from .events import publishing
from .exceptions import DATABASE_AWAY, FeedError, FeedsRefused, FollowersBeingRebuilt
from .fanout import chain, rescue
from .homefeed import delivery, followers, keys, removal, turns
from .models import Circle, Photo
from .ops import pruning

if TYPE_CHECKING:
    from celery import Task

logger = logging.getLogger(__name__)

OUTBOX_SECONDS = 2.0
REBUILD_SECONDS = 600.0  # of a circle; longer than any takes, until then nobody follows one that was killed
RETRIES = 5  # after 1, 2, 4, 8, 16 seconds; then the lease is over, and the rescue takes care
LATE: dict[str, Any] = {
    "acks_late": True,
    "reject_on_worker_lost": True,
    "ignore_result": True,
    "serializer": "json",
    "max_retries": None,  # bounded below
}


@shared_task(bind=True, name="mydjangoapp.tasks.insert_into_homefeed", **LATE)
def insert_into_homefeed(self: Task[Any, Any], photo_id: int, user_id: Any, cursor: int = 0) -> None:
    """Carries a photo to the next batch of its author's followers and enqueues the batch after it."""
    message = self.request.delivery_info or {}
    redelivered = bool(message.get("redelivered")) or self.request.retries > 0
    sent_at = float((self.request.headers or {}).get(broker.SENT_AT) or 0)
    try:
        ended = chain.carry(
            photo_id, user_id, cursor, redelivered=redelivered, enqueue=enqueue, sent_at=sent_at
        )
        failpoints.reach("carried", photo_id)
        if ended:
            _settle_later()
            if not database.primary(Photo).filter(id=photo_id).exists():
                # Deleted while Redis could not be told: what removed it may have been before us.
                enqueue_removal(photo_id, user_id)
    except FollowersBeingRebuilt as error:
        raise self.retry(exc=error, countdown=1) from error
    except (FeedError, *DATABASE_AWAY) as error:
        logger.error("photo %s: %s", photo_id, error)
        if isinstance(error, FeedError):
            chain.note_error(photo_id, error)
        if self.request.retries >= RETRIES:
            if isinstance(error, FeedsRefused):
                chain.count_refusal(photo_id, user_id)
            return  # the ledger still has it as open: the rescue goes on, and its attempts are counted
        raise self.retry(exc=error, countdown=2**self.request.retries) from error


@shared_task(bind=True, name="mydjangoapp.tasks.remove_from_homefeed", **LATE)
def remove_from_homefeed(self: Task[Any, Any], photo_id: int, user_id: Any, cursor: int = 0) -> None:
    """Takes a deleted photo out of the feeds of a batch of followers and enqueues the batch after it.

    Nobody's feed depends on it, so a chain that is lost is not looked for.
    """
    try:
        following = removal.remove(photo_id, user_id, cursor)
    except FeedError as error:
        if self.request.retries >= RETRIES:
            logger.error("photo %s stays in some lists, where readers skip it: %s", photo_id, error)
            return
        raise self.retry(exc=error, countdown=2**self.request.retries) from error
    if following is not None:
        enqueue_removal(photo_id, user_id, following)


@shared_task(name="mydjangoapp.tasks.compact_followers", **LATE)
def compact_followers(user_id: Any) -> None:
    """Throws the dead entries out of an author's follower list."""
    followers.compact(user_id)


@shared_task(name="mydjangoapp.tasks.rebuild_circle", **LATE)
def rebuild_circle(circle_id: int) -> None:
    """Makes the photos and rankings of a circle in Redis anew from SQL."""
    if circle := database.primary(Circle).filter(pk=circle_id).first():
        _try("the circle is rebuilt when somebody looks at it again", _rebuild, circle)


def _rebuild(circle: Circle) -> None:
    """One process at a time: a second one would begin by deleting what the first has made."""
    with turns.held(
        f"{circle_keys.rebuilding(circle_keys.of_circle(circle.pk))}:now", REBUILD_SECONDS
    ) as got:
        if got:
            projection.rebuild(circle)


@shared_task(name="mydjangoapp.tasks.rebuild_photos_of", **LATE)
def rebuild_photos_of(user_id: Any) -> None:
    """Makes an author's list `photos:{user}` anew from SQL."""
    _try("the list is rebuilt with the author's next photo", projection.rebuild_author, user_id)


@shared_task(name="mydjangoapp.tasks.prune", **LATE)
def prune() -> None:
    """Deletes what is no longer needed (see `pruning.py`). Beat sends it every hour."""
    _try("not everything could be pruned", pruning.prune)


@shared_task(name="mydjangoapp.tasks.settle_fanouts", **LATE)
def settle_fanouts() -> None:
    """Says `done` of fan-outs that have ended for good; sent when one ends, and by itself while there are
    more. If it is lost, the rescue does the same."""
    _try("no fan-out is settled at the moment", _settle)


def _settle_later() -> None:
    """One such message is on its way at a time, however many fan-outs end."""
    if delivery.settle_is_wanted():
        broker.send(settle_fanouts, countdown=conf.SETTLE_SECONDS)


def _settle() -> None:
    settled = rescue.settle(enqueue)
    if settled.more:
        _settle_later()
    for author in settled.authors:
        if followers.compaction_is_due(author):
            broker.send(compact_followers, broker.plain(author))


def _try(otherwise: str, step: Callable[..., object], *arguments: Any) -> None:
    """What one step of the rescue cannot do now must not keep the next from being done."""
    try:
        step(*arguments)
    except (FeedError, *DATABASE_AWAY) as error:
        logger.error("%s: %s", otherwise, error)


@shared_task(name="mydjangoapp.tasks.rescue_fanouts", **LATE)
def rescue_fanouts() -> None:
    """Enqueues fan-outs again whose worker or message was lost, settles those that have ended, brings
    changes of the graph into Redis that may have been lost, and sends events that were not. Beat sends it
    every few seconds.

    It works on an outbox for two seconds and comes back for the rest behind what waits in the queue by then,
    so that deliveries go on while it catches up with an outage.
    """
    is_redis_there = True
    try:
        if not delivery.rescue_is_wanted():
            return  # many messages may have waited behind a backlog; one of them is enough
    except FeedError as error:
        is_redis_there = False
        logger.error("nothing is rescued at the moment: %s", error)
    if is_redis_there:
        _try("no fan-out is rescued at the moment", _rescue)
        _try("no fan-out is settled at the moment", _settle)
    more = _try_in_time("changes of the graph have to wait", outbox.catch_up)
    # Also while the feeds' Redis is away: events may be somewhere else.
    more |= _try_in_time("events have to wait", _send_events)
    if more and is_redis_there:  # without it nobody could tell that one is enough; beat sends the next
        _rescue_again()


def _try_in_time(otherwise: str, step: Callable[[Budget], int]) -> bool:
    """Whether it did something and has not come to the end."""
    budget = Budget(OUTBOX_SECONDS)
    done = 0

    def work() -> None:
        nonlocal done
        done = step(budget)

    _try(otherwise, work)
    return bool(done) and budget.is_spent


def _rescue() -> None:
    rescue.rescue(enqueue, look_again=_rescue_again)


def _rescue_again() -> None:
    broker.send(rescue_fanouts, countdown=1)


def _send_events(budget: Budget) -> int:
    """One process at a time, where Redis can tell."""
    try:
        is_ours = turns.begin(keys.sending(), OUTBOX_SECONDS)
    except FeedError:
        is_ours = True  # each row is sent by one of them anyway
    return publishing.send_waiting(budget) if is_ours else 0


@worker_ready.connect(dispatch_uid="mydjangoapp.look_for_the_stalled")
def look_for_the_stalled(sender: Any, **_: Any) -> None:
    """Each worker has the stalled rescued: when it starts (its predecessor may have been killed), and
    once per lease. So a single worker heals itself even where no beat runs."""

    def look() -> None:
        broker.send(rescue_fanouts)

    look()
    sender.timer.call_repeatedly(conf.LEASE_SECONDS, look)


def enqueue(photo: int, user: Any, cursor: int = 0) -> bool:
    """Sends the message of one link; False, and a line in the log, if the broker does not take it.
    Never raises: the rescue sends it again when the lease is over."""
    return broker.send(insert_into_homefeed, photo, broker.plain(user), cursor)


def enqueue_removal(photo: int, user: Any, cursor: int = 0) -> bool:
    """Sends the message of one link of a removal. Never raises."""
    return broker.send(remove_from_homefeed, photo, broker.plain(user), cursor)
