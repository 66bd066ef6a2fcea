"""The Celery tasks: ids in, one call. Each may run twice, at once or later, without harm.

What they need of Celery is set here and not left to the site: late acknowledgement (a worker that dies leaves
the message with the broker), JSON, no results.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import shared_task
from celery.signals import worker_ready

from . import failpoints, pictures
from .circles import rebuild
from .conf import conf
from .connections import broker
from .exceptions import DATABASE_AWAY, FeedError, FeedsRefused, FollowersBeingRebuilt
from .fanout import chain, ledger, rescue, settling
from .homefeed import followers, removal
from .homefeed.delivery import Message
from .models import UserId
from .ops import pruning, recovery

if TYPE_CHECKING:
    from celery import Task

logger = logging.getLogger(__name__)

OUTBOX_SECONDS = 2.0
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
    message = Message(
        photo_id,
        user_id,
        cursor,
        redelivered=bool((self.request.delivery_info or {}).get("redelivered")),
        retried=self.request.retries > 0,
        sent_at=float((self.request.headers or {}).get(broker.SENT_AT) or 0),
    )
    try:
        if chain.carry(message, enqueue):
            _settle_later()
        failpoints.reach("carried", photo_id)
    except FollowersBeingRebuilt as error:
        raise self.retry(exc=error, countdown=1) from error
    except (FeedError, *DATABASE_AWAY) as error:
        logger.error("photo %s: %s", photo_id, error)
        if isinstance(error, FeedError):
            ledger.rows().of(photo_id).note_error(str(error))
        if self.request.retries >= RETRIES:
            if isinstance(error, FeedsRefused):
                ledger.count_refusal(photo_id, user_id)
            return  # the ledger still has it as open: the rescue goes on, and its attempts are counted
        raise self.retry(exc=error, countdown=2**self.request.retries) from error


@shared_task(bind=True, name="mydjangoapp.tasks.remove_from_homefeed", **LATE)
def remove_from_homefeed(self: Task[Any, Any], photo_id: int, user_id: Any, cursor: int = 0) -> None:
    """Takes a deleted photo out of the feeds of a batch of followers and enqueues the batch after it.

    No feed depends on it, so a chain that is lost is not looked for.
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
    _try("the circle is rebuilt at the next look at it", lambda: rebuild.rebuild_once(circle_id))


@shared_task(name="mydjangoapp.tasks.rebuild_photos_of", **LATE)
def rebuild_photos_of(user_id: Any) -> None:
    """Makes an author's list `photos:{user}` anew from SQL."""
    _try("the list is rebuilt with the author's next photo", lambda: rebuild.rebuild_author(user_id))


@shared_task(name="mydjangoapp.tasks.make_sizes", **LATE)
def make_sizes(photo_id: int, attempt: int) -> None:
    """Makes the smaller files of a photo's file. They take a worker longer than most fan-outs: a busy site
    routes this task to a queue of its own (docs/OPERATING.md)."""
    _try("the sizes of a photo have to wait", lambda: pictures.make(photo_id, attempt))


@shared_task(name="mydjangoapp.tasks.prune", **LATE)
def prune() -> None:
    """Deletes what is no longer needed (see `ops/pruning.py`). Beat sends it every hour."""
    _try("not everything could be pruned", pruning.prune)


@shared_task(name="mydjangoapp.tasks.settle_fanouts", **LATE)
def settle_fanouts() -> None:
    """Enters ended fan-outs in the ledger. Sent when one ends, and by itself while there are more. If it is
    lost, the rescue does the same."""
    _try("no fan-out is settled at the moment", _settle)


def _settle() -> None:
    _follow_up(settling.settle(enqueue, enqueue_removal))


def _follow_up(settled: settling.Settled) -> None:
    """What settling leaves to be done."""
    for author_id in followers.due_for_compaction(settled.author_ids):
        broker.send(compact_followers, broker.plain(author_id))
    if settled.more:
        broker.send(settle_fanouts)
    elif settled.later and settling.is_due_later():
        _settle_later()


def _settle_later() -> None:
    """One caller per `SETTLE_SECONDS` sends this message, however many fan-outs end."""
    broker.send(settle_fanouts, countdown=conf.SETTLE_SECONDS)


def _try(problem: str, step: Callable[[], object]) -> None:
    """Logs what cannot be done now: the next message, or the rescue, does it."""
    try:
        step()
    except (FeedError, *DATABASE_AWAY) as error:
        logger.error("%s: %s", problem, error)


@shared_task(name="mydjangoapp.tasks.rescue_fanouts", **LATE)
def rescue_fanouts() -> None:
    """Looks for everything that may have been lost (`ops/recovery.py`). Beat sends it every few seconds.

    It works on an outbox for two seconds and comes back for the rest behind what waits in the queue by then,
    so that deliveries go on while it catches up with an outage.
    """
    try:
        if not rescue.is_wanted():
            return  # many messages may have waited behind a backlog; one of them is enough
        is_redis_there = True
    except FeedError:
        is_redis_there = False
    recovered = recovery.recover(enqueue, enqueue_removal, enqueue_sizes, seconds=OUTBOX_SECONDS)
    if is_redis_there:  # without it nobody could tell that one message is enough; beat sends the next
        _try("the next rescue settles the rest", lambda: _follow_up(recovered.settled))
        if recovered.look_again:
            broker.send(rescue_fanouts, countdown=1)


@worker_ready.connect(dispatch_uid="mydjangoapp.look_for_the_stalled")
def look_for_the_stalled(sender: Any, **_: Any) -> None:
    """Each worker has the stalled rescued: when it starts (its predecessor may have been killed), and
    once per lease. So a single worker heals itself even where no beat runs."""

    def look() -> None:
        broker.send(rescue_fanouts)

    look()
    sender.timer.call_repeatedly(conf.LEASE_SECONDS, look)


def enqueue(photo_id: int, user_id: UserId, cursor: int = 0) -> bool:
    """Sends the message of one link; False, and a line in the log, if the broker does not take it.
    Never raises: the rescue sends it again when the lease is over."""
    return broker.send(insert_into_homefeed, photo_id, broker.plain(user_id), cursor)


def enqueue_removal(photo_id: int, user_id: UserId, cursor: int = 0) -> bool:
    """Sends the message of one link of a removal. Never raises."""
    return broker.send(remove_from_homefeed, photo_id, broker.plain(user_id), cursor)


def enqueue_sizes(photo_id: int, attempt: int) -> bool:
    """Sends the message that has the sizes of a photo made. Never raises: it is sent again if it is lost."""
    return broker.send(make_sizes, photo_id, attempt)
