"""One round that looks for everything that may have been lost: what beat sends every few seconds, and
`manage.py rescue_fanouts` by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from .. import outbox, pictures
from ..connections.patience import Budget
from ..events import publishing
from ..exceptions import DATABASE_AWAY, FeedError
from ..fanout import rescue, settling
from ..fanout.chain import Enqueue
from ..fanout.rescue import Rescued
from ..fanout.settling import Settled
from ..homefeed import keys, losses, turns
from ..models import UserId

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class Recovery:
    """What one round did. `problems`: a sentence for each step that could not be done. `look_again`: whether
    another round has something to do in a moment."""

    rescued: int = 0
    settled: Settled = field(default_factory=Settled)
    changes: int = 0
    voided: int = 0
    events: int = 0
    look_again: bool = False
    problems: list[str] = field(default_factory=list)


def recover(
    enqueue: Enqueue,
    enqueue_removal: Callable[[int, UserId], bool],
    enqueue_sizes: pictures.Enqueue,
    *,
    seconds: float | None = None,
    by_hand: bool = False,
) -> Recovery:
    """Enqueues fan-outs again that have lost their message, settles those that have ended, brings changes
    into Redis, asks again for sizes of photos, and publishes events that wait. A step that fails does not
    keep the next from being done.

    Works on each outbox for at most so many seconds, so that deliveries go on while it catches up.
    """
    done = Recovery()

    def tried(problem: str, step: Callable[[], T], default: T) -> T:
        try:
            return step()
        except (FeedError, *DATABASE_AWAY) as error:
            logger.error("%s: %s", problem, error)
            done.problems.append(str(error))
            return default

    def in_time(problem: str, step: Callable[[Budget | None], int]) -> int:
        budget = None if seconds is None else Budget(seconds)
        number = tried(problem, lambda: step(budget), 0)
        done.look_again |= bool(number and budget and budget.is_spent)
        return number

    rescued = tried(
        "no fan-out is rescued at the moment", lambda: rescue.rescue(enqueue, by_hand=by_hand), Rescued()
    )
    done.rescued, done.look_again = rescued.enqueued, rescued.look_again
    done.settled = tried(
        "no fan-out is settled at the moment", lambda: settling.settle(enqueue, enqueue_removal), Settled()
    )
    tried("no node of the cluster is watched at the moment", losses.watch, None)
    done.voided = in_time("feeds of a node that has lost writes have to wait", losses.make_up_for)
    done.changes = in_time("changes have to wait", outbox.catch_up)
    tried("sizes of photos have to wait", lambda: pictures.send_due(enqueue_sizes), 0)
    # Also while the feeds' Redis is away: events may be carried by another server.
    done.events = in_time("events have to wait", _send_events)
    return done


def _send_events(budget: Budget | None) -> int:
    """One process at a time, where Redis can tell."""
    if budget is None:
        return publishing.send_waiting()
    try:
        is_ours = turns.begin(keys.sending(), budget.seconds)
    except FeedError:
        is_ours = True  # each row is sent by one of them anyway
    return publishing.send_waiting(budget) if is_ours else 0
