"""What a transport has to do.

One contract, tested on each: `tests/events/test_contract.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .message import Delivery, Outgoing


@dataclass(frozen=True)
class ChannelStatus:
    """How far a channel is. `depth`: messages nobody has taken yet; `in_flight`: taken and not finished;
    `deferred`: waiting to come again; `dead`: dead letters; `lag`: all that are not finished;
    `oldest_age`: seconds since the oldest of these was published, None if there is none."""

    topic: str
    channel: str
    depth: int
    in_flight: int
    deferred: int
    dead: int
    lag: int
    oldest_age: float | None


@dataclass(frozen=True)
class DeadLetter:
    """`body` is a JSON object, or the text of a body that was not one."""

    id: str
    action: str
    body: Any
    attempts: int
    reason: str


class Consumer(Protocol):
    """One process's part in a channel. All raise `EventsUnavailable` and `EventsRefused`; what was in hand
    then still is, or comes again after the time-out."""

    def take(self, most: int, wait: float) -> Sequence[Delivery]:
        """At most so many messages, as soon as there is one, none after `wait` seconds; a suspect one
        alone."""

    def remembered(self, ids: Sequence[str]) -> set[str]:
        """Those of these messages that have been finished lately."""

    def finish(self, deliveries: Sequence[Delivery], *, remember: bool = True) -> None:
        """Acknowledges the messages; they are not delivered again."""

    def requeue(self, delivery: Delivery, delay: float, *, count_attempt: bool) -> bool:
        """It comes again in so many seconds. False if it was not in hand any more."""

    def bury(self, delivery: Delivery, reason: str) -> bool:
        """It goes to the dead letters. False if it was not in hand any more."""

    def touch(self, delivery: Delivery) -> bool:
        """Its time-out begins anew. False if it was not in hand any more."""

    def close(self) -> None:
        """Leaves the channel; what is in hand comes again after the time-out."""


class Transport(Protocol):
    """Topics and channels of one place. All raise `EventsUnavailable` and `EventsRefused`."""

    longest_delay: float = 365 * 86_400.0
    """Seconds that a message may wait before it is delivered, or delivered again."""
    gives_receipts: bool = False
    """Whether it can be asked what it still has after a crash."""

    def publish(
        self, topic: str, messages: Sequence[Outgoing], delay: float = 0, *, receipt: str = ""
    ) -> None:
        """Sends messages of one topic, in this order, to come in `delay` seconds. `receipt`: of the row of
        the outbox they come from."""

    def receipts_held_for(self, topic: str, receipts: Sequence[str]) -> list[float | None]:
        """For how many seconds each has been there; None if it is not."""

    def forget_receipts(self, topic: str, receipts: Sequence[str]) -> None:
        """Drops receipts that are no longer needed."""

    def subscribe(self, topic: str, channel: str, *, from_beginning: bool = False) -> bool:
        """Makes the channel, from now on or with all that is kept; False, and no change, if it exists."""

    def unsubscribe(self, topic: str, channel: str) -> bool:
        """Ends the channel with all that waits in it, dead letters too; False if there was none."""

    def consumer(self, topic: str, channel: str, *, timeout: float) -> Consumer:
        """Takes part in the channel, which is made if it is not there."""

    def channels(self) -> Iterator[ChannelStatus]:
        """Every channel, by topic and name."""

    def dead_letters(self, topic: str, channel: str) -> Iterator[DeadLetter]:
        """The oldest first."""

    def replay(self, topic: str, channel: str) -> int:
        """Brings all dead letters back, with no attempt counted; returns how many."""

    def purge(self, topic: str, channel: str) -> int:
        """Throws them away; returns how many."""

    def prune(self, seconds: float) -> int:
        """Throws dead letters of all channels away that are older; returns how many."""
