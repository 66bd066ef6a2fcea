"""One slice: what its script is given, and what it answers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ...conf import conf
from ...models import UserId
from .. import keys
from .limits import trim_slack

logger = logging.getLogger(__name__)

# The next link is enqueued when so much of the batch is done, so that a second process has it in hand
# before this one ends. Without that Redis would wait for the broker at each seam.
ENQUEUE_AT = 0.5


class Status(StrEnum):
    """What `lua/slice.lua` says after a slice, from the least final to the most."""

    MORE = "more"
    OVER = "over"
    ENDED = "ended"
    ABSENT = "absent"

    @property
    def finality(self) -> int:
        return list(Status).index(self)


@dataclass(frozen=True)
class Slice:
    """The answer. `is_link_due`: the next link is to be enqueued. `is_settling_due`: this caller has to
    enqueue the settling of ended fan-outs."""

    status: Status
    is_link_due: bool
    is_settling_due: bool


def call_for(photo_id: int, author_id: UserId, start: int, stop: int) -> tuple[list[str], list[Any]]:
    """Keys and arguments of a slice of the batch from index `start` up to, not including, `stop`."""
    names = [keys.fanout(author_id, photo_id), keys.followers(author_id), keys.marks(author_id)]
    names += [keys.state(author_id), keys.running(author_id), keys.built(author_id, photo_id)]
    names += [keys.ended(), keys.settling()]
    enqueue_at = start + int((stop - start) * ENQUEUE_AT)
    arguments: list[Any] = [photo_id, str(author_id), *keys.homefeed_words(), conf.SLICE_SIZE]
    arguments += [start, stop, enqueue_at, conf.MAX_LENGTH, trim_slack()]
    arguments += [int(conf.INACTIVE_AFTER is not None), int(conf.SETTLE_SECONDS * 1000)]
    return names, arguments


def read(photo_id: int, reply: list[Any]) -> Slice:
    """The answer of the script; logs whom it had to leave out."""
    status, is_link_due, refused, key, error, is_settling_due = reply
    if refused:
        logger.warning("photo %s left out of %d feeds, %r among them: %r", photo_id, refused, key, error)
    return Slice(Status(status.decode()), bool(is_link_due), bool(is_settling_due))
