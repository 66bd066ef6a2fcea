"""Topics and channels: publish, subscribe, look."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from more_itertools import batched

from ...conf import conf
from ...connections.redis_server import Store
from ...exceptions import EventsUnavailable, FeedError
from .. import transport
from ..message import Outgoing
from ..transport import DeadLetter
from . import keys
from .consumer import RedisConsumer
from .dead_letters import DeadLetters
from .server import run, run_to_publish, store

logger = logging.getLogger(__name__)

AT_ONCE = 500  # messages a script call: it holds Redis for about a millisecond
TRIM_AT_ONCE = 10_000  # messages; some milliseconds
RECEIPTS_KEPT = 86_400  # seconds that a receipt outlives what should have removed it


class RedisStreams(transport.Transport):
    """Of one Redis, or of a cluster, where each topic is on one node. Each call one round trip, unless it
    says more."""

    gives_receipts = True

    def __init__(self, url: str) -> None:
        self.url = self._url = url

    @property
    def _store(self) -> Store:
        return store(self._url)

    def publish(
        self, topic: str, messages: Sequence[Outgoing], delay: float = 0, *, receipt: str = ""
    ) -> None:
        """One round trip per 500 messages, and one more now and then to cut old ones off."""
        length = 0
        for some in batched(messages, AT_ONCE):
            kept = [keys.receipts(topic)]
            args = [part for one in some for part in (one.id, one.action, one.body, one.published_at)]
            if delay > 0:
                kept.append(keys.publish_later(topic))
                after = max(1, round(delay * 1000))
                run_to_publish(self._url, "publish_later", kept, [receipt, after, *args])
            else:
                kept.append(keys.stream(topic))
                length = run_to_publish(self._url, "publish", kept, [receipt, *args])
        if length > conf.EVENTS_KEEP + conf.EVENTS_KEEP // 10:
            with contextlib.suppress(FeedError):  # they are published; the next one cuts
                self.trim(topic)

    def trim(self, topic: str) -> int:
        """Cuts some of the oldest messages off that every channel has finished, if there are more than
        `EVENTS_KEEP`; returns how many."""
        kept = [keys.stream(topic), keys.channels(topic)]
        return int(run_to_publish(self._url, "trim", kept, [conf.EVENTS_KEEP, TRIM_AT_ONCE]))

    def receipts_held_for(self, topic: str, receipts: Sequence[str]) -> list[float | None]:
        """On a cluster three round trips; a receipt counts as held from when the node's replica has it."""
        began = time.monotonic()
        with self._store.edge():
            is_safe = self._store.keeps(keys.settled(topic))
            pipeline = self._store.client().pipeline(transaction=False)
            pipeline.time()
            pipeline.zmscore(keys.receipts(topic), list(receipts))
            (seconds, microseconds), given = pipeline.execute()
        # What came after the first look is not vouched for by it.
        then = seconds + microseconds / 1e6 - (time.monotonic() - began)
        return [None if at is None else max(0.0, then - float(at)) if is_safe else 0.0 for at in given]

    def forget_receipts(self, topic: str, receipts: Sequence[str]) -> None:
        with self._store.edge():
            pipeline = self._store.client().pipeline(transaction=False)
            pipeline.zrem(keys.receipts(topic), *receipts)
            pipeline.zremrangebyscore(keys.receipts(topic), "-inf", time.time() - RECEIPTS_KEPT)
            pipeline.execute()

    def subscribe(self, topic: str, channel: str, *, from_beginning: bool = False) -> bool:
        """Two round trips."""
        kept = [keys.stream(topic), keys.again(topic, channel), keys.channels(topic)]
        is_new = bool(run(self._url, "subscribe", kept, [channel, "0" if from_beginning else "$"]))
        self.note(topic)
        return is_new

    def note(self, topic: str) -> None:
        """Adds it to those that `channels` looks at; on a cluster later, if the node that has these is away:
        consumers do it again and again."""
        try:
            with self._store.edge():
                self._store.client().sadd(keys.topics(), topic)
        except EventsUnavailable as error:
            if not self._store.is_cluster:
                raise
            logger.warning("topic %s is not among those that are looked at: %s", topic, error)

    def unsubscribe(self, topic: str, channel: str) -> bool:
        """What is remembered as finished stays for its time, should somebody subscribe again."""
        own = (keys.again, keys.later, keys.dead)
        with self._store.edge():
            redis = self._store.client()
            if not redis.hexists(keys.channels(topic), channel):
                return False
            pipeline = redis.pipeline(transaction=True)
            pipeline.hdel(keys.channels(topic), channel)
            pipeline.xgroup_destroy(keys.stream(topic), channel)
            pipeline.delete(*(make(topic, channel) for make in own))
            gone, *_ = pipeline.execute(raise_on_error=False)
        return bool(gone)

    def consumer(self, topic: str, channel: str, *, timeout: float) -> RedisConsumer:
        self.subscribe(topic, channel)
        return RedisConsumer(self, topic, channel, timeout)

    def channels(self) -> Iterator[transport.ChannelStatus]:
        """Two round trips, one more per topic and one per channel."""
        with self._store.edge():
            found: Any = self._store.client().smembers(keys.topics())
        for topic in sorted(name.decode() for name in found):
            with self._store.edge():
                channels: Any = self._store.client().hkeys(keys.channels(topic))
            for channel in sorted(name.decode() for name in channels):
                yield self._status(topic, channel)

    def _status(self, topic: str, channel: str) -> transport.ChannelStatus:
        kept = [
            keys.stream(topic),
            *(make(topic, channel) for make in (keys.again, keys.later, keys.dead)),
            keys.channels(topic),
        ]
        depth, in_flight, deferred, dead, oldest = run(self._url, "status", kept, [channel])
        return transport.ChannelStatus(
            topic=topic,
            channel=channel,
            depth=depth,
            in_flight=in_flight,
            deferred=deferred,
            dead=dead,
            lag=depth + in_flight + deferred,
            oldest_age=_age(oldest.decode(errors="replace")),
        )

    def dead_letters(self, topic: str, channel: str) -> Iterator[DeadLetter]:
        """One round trip per 100."""
        return self._dead_letters(topic, channel).letters()

    def replay(self, topic: str, channel: str) -> int:
        """One round trip per 100, of the letters that are there at the beginning."""
        self.subscribe(topic, channel)
        with self._store.edge():
            left = int(self._store.client().xlen(keys.dead(topic, channel)))
        replayed = 0
        while left > 0:
            kept = [keys.dead(topic, channel), keys.again(topic, channel)]
            moved = run(self._url, "replay", kept, [min(left, 100)])
            if not moved:
                break
            left, replayed = left - moved, replayed + moved
        return replayed

    def purge(self, topic: str, channel: str) -> int:
        return self._dead_letters(topic, channel).purge()

    def prune(self, seconds: float) -> int:
        """Two round trips, one more per topic and two per channel."""
        return sum(
            self._dead_letters(one.topic, one.channel).prune(seconds) for one in self.channels() if one.dead
        )

    def _dead_letters(self, topic: str, channel: str) -> DeadLetters:
        return DeadLetters(self._url, topic, channel)


def _age(published_at: str) -> float | None:
    try:
        at = datetime.fromisoformat(published_at)
    except ValueError:
        return None
    if at.tzinfo is None:
        return None
    return round(max(0.0, (datetime.now(UTC) - at).total_seconds()), 3)
