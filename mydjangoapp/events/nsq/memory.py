"""What nsqd does not keep: finished ids and dead letters. They are in Redis, beside the feeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...conf import conf
from ..message import Delivery
from ..redis_streams import keys
from ..redis_streams.dead_letters import DeadLetters
from ..redis_streams.server import beside_the_feeds, run, store
from ..transport import DeadLetter


class Memory:
    """Of one channel. Each call one round trip, unless it says more."""

    def __init__(self, topic: str, channel: str) -> None:
        self._topic, self._channel = topic, channel

    @property
    def _url(self) -> str:
        return beside_the_feeds()

    def remembered(self, ids: Sequence[str]) -> set[str]:
        """Those that have been finished lately."""
        with store(self._url).edge():
            found: Any = store(self._url).client().zmscore(keys.done(self._topic, self._channel), list(ids))
        return {id_ for id_, at in zip(ids, found, strict=True) if at is not None}

    def remember(self, ids: Sequence[str]) -> None:
        """They have been finished."""
        kept = [
            keys.stream(self._topic),
            keys.again(self._topic, self._channel),
            keys.done(self._topic, self._channel),
            keys.channels(self._topic),
        ]
        run(self._url, "finish", kept, [self._channel, conf.EVENTS_REMEMBER, 0, 0, *ids])

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Keeps a dead letter."""
        fields: Any = {
            "attempts": delivery.attempts,
            "reason": reason,
            "id": delivery.id,
            "action": delivery.action,
            "body": delivery.body,
            "published_at": delivery.published_at,
        }
        with store(self._url).edge():
            store(self._url).client().xadd(keys.dead(self._topic, self._channel), fields)

    def dead(self) -> int:
        """How many dead letters there are."""
        with store(self._url).edge():
            return int(store(self._url).client().xlen(keys.dead(self._topic, self._channel)))

    def dead_letters(self) -> Iterator[DeadLetter]:
        """The oldest first. One round trip per 100."""
        return DeadLetters(self._url, self._topic, self._channel).letters()

    def first_dead(self, most: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Entries as Redis has them, for `forget_dead`."""
        with store(self._url).edge():
            found: Any = store(self._url).client().xrange(keys.dead(self._topic, self._channel), count=most)
        return list(found)

    def forget_dead(self, entries: Sequence[bytes]) -> None:
        """They have been replayed."""
        with store(self._url).edge():
            store(self._url).client().xdel(keys.dead(self._topic, self._channel), *entries)

    def purge(self) -> int:
        """Throws dead letters away; returns how many."""
        return DeadLetters(self._url, self._topic, self._channel).purge()

    def prune(self, seconds: float) -> int:
        """Throws dead letters away that are older; returns how many."""
        return DeadLetters(self._url, self._topic, self._channel).prune(seconds)

    def is_new(self) -> bool:
        """Whether the channel is made for the first time; only one caller gets True."""
        with store(self._url).edge():
            return bool(store(self._url).client().sadd(keys.nsq_channels(self._topic), self._channel))

    def forget(self) -> None:
        """The channel is gone."""
        with store(self._url).edge():
            store(self._url).client().srem(keys.nsq_channels(self._topic), self._channel)
            store(self._url).client().delete(keys.dead(self._topic, self._channel))
