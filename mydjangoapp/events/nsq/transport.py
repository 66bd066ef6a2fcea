"""Topics and channels of one or several nsqd."""

from __future__ import annotations

import itertools
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from more_itertools import constrained_batches

from ...exceptions import EventsUnavailable
from .. import transport
from ..message import Outgoing
from ..transport import DeadLetter
from . import http, wire
from .address import Addresses, addresses
from .consumer import NsqConsumer
from .memory import Memory

logger = logging.getLogger(__name__)
T = TypeVar("T")

BYTES_AT_ONCE = 4_000_000  # nsqd takes five mebibytes
AT_ONCE = 500  # messages
_turns = itertools.count()


class Nsq(transport.Transport):
    """Of the nsqd that a URL names. `subscribe`, `unsubscribe` and `channels` ask each of those that
    `?http=` names, one request each."""

    longest_delay = 3_600.0  # nsqd's --max-req-timeout

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def at(self) -> Addresses:
        return _addresses(self._url)

    def publish(
        self, topic: str, messages: Sequence[Outgoing], delay: float = 0, *, receipt: str = ""
    ) -> None:
        """One request per 500 messages or four megabytes; one per message where there is a delay."""
        bodies = [wire.envelope(one) for one in messages]
        self.put(topic, bodies, delay)

    def put(self, topic: str, bodies: Sequence[bytes], delay: float = 0) -> None:
        """The same for envelopes."""
        if delay > 0:
            for body in bodies:
                self._to_one("/pub", body, topic=topic, defer=max(1, round(delay * 1000)))
            return
        for some in constrained_batches(bodies, BYTES_AT_ONCE, AT_ONCE, get_len=lambda body: len(body) + 4):
            self._to_one("/mpub", wire.many(some), topic=topic, binary="true")

    def receipts_held_for(self, topic: str, receipts: Sequence[str]) -> list[float | None]:
        """nsqd gives none."""
        return [None] * len(receipts)

    def forget_receipts(self, topic: str, receipts: Sequence[str]) -> None:
        """There are none."""

    def _to_one(self, path: str, body: bytes, **query: Any) -> None:
        """To each in turn, and to the next if one is away."""
        hosts, first = self.at.http, next(_turns)
        for number in range(len(hosts)):
            try:
                http.post(hosts[(first + number) % len(hosts)], path, body, **query)
                return
            except EventsUnavailable as error:
                if number == len(hosts) - 1:
                    raise
                logger.warning("%s The next one gets it.", error)

    def subscribe(self, topic: str, channel: str, *, from_beginning: bool = False) -> bool:
        """The first channel of a topic may begin with what nsqd has kept; for later ones it keeps nothing."""
        topics = self._of_each(lambda host: self._channels(host, topic))
        there = any(channels is not None and channel in channels for channels in topics)
        has_channels = any(topics)
        if from_beginning and has_channels and not there:
            logger.warning(
                "%s of %s begins with now: nsqd keeps nothing for a topic's second channel", channel, topic
            )
        self._of_each(lambda host: http.post(host, "/topic/create", topic=topic))
        if not from_beginning and not has_channels:
            self._of_each(lambda host: http.post(host, "/topic/empty", topic=topic))
        self._of_each(lambda host: http.post(host, "/channel/create", topic=topic, channel=channel))
        return Memory(topic, channel).is_new()  # in Redis, because nsqd does not say who made it

    def _of_each(self, ask: Callable[[str], T]) -> list[T]:
        """What each nsqd answers. One that is away is left out, unless all are."""
        found: list[T] = []
        away: EventsUnavailable | None = None
        for host in self.at.http:
            try:
                found.append(ask(host))
            except EventsUnavailable as error:
                logger.warning("%s", error)
                away = error
        if away and not found:
            raise away
        return found

    def _channels(self, host: str, topic: str) -> set[str] | None:
        found = http.get(host, "/stats", format="json", topic=topic, include_clients="false") or {}
        for one in found.get("topics") or ():
            if one["topic_name"] == topic:
                return {channel["channel_name"] for channel in one.get("channels") or ()}
        return None

    def unsubscribe(self, topic: str, channel: str) -> bool:
        there = False
        for host in self.at.http:
            if channel in (self._channels(host, topic) or ()):
                there = True
                http.post(host, "/channel/delete", topic=topic, channel=channel)
        Memory(topic, channel).forget()
        return there

    def consumer(self, topic: str, channel: str, *, timeout: float) -> NsqConsumer:
        self.subscribe(topic, channel)
        return NsqConsumer(self, topic, channel, timeout)

    def channels(self) -> Iterator[transport.ChannelStatus]:
        """`oldest_age` is not known to nsqd."""
        figures: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        stats = self._of_each(lambda host: http.get(host, "/stats", format="json", include_clients="false"))
        for found in stats:
            for topic in (found or {}).get("topics") or ():
                for channel in topic.get("channels") or ():
                    of = figures[topic["topic_name"], channel["channel_name"]]
                    for place, name in enumerate(("depth", "in_flight_count", "deferred_count")):
                        of[place] += channel[name]
        for (name, channel_name), (depth, in_flight, deferred) in sorted(figures.items()):
            yield transport.ChannelStatus(
                topic=name,
                channel=channel_name,
                depth=depth,
                in_flight=in_flight,
                deferred=deferred,
                dead=Memory(name, channel_name).dead(),
                lag=depth + in_flight + deferred,
                oldest_age=None,
            )

    def dead_letters(self, topic: str, channel: str) -> Iterator[DeadLetter]:
        return Memory(topic, channel).dead_letters()

    def replay(self, topic: str, channel: str) -> int:
        """Sends them to the topic for this channel alone; others finish them unhandled. Two round trips and a
        request per 100. If the process is killed in between, some are replayed twice, with the same ids."""
        memory = Memory(topic, channel)
        left, replayed = memory.dead(), 0
        while left > replayed and (some := memory.first_dead(min(100, left - replayed))):
            self.put(topic, [_revived(topic, channel, fields) for _, fields in some])
            memory.forget_dead([entry for entry, _ in some])
            replayed += len(some)
        return replayed

    def prune(self, seconds: float) -> int:
        """Two round trips per channel that has some."""
        return sum(Memory(one.topic, one.channel).prune(seconds) for one in self.channels() if one.dead)

    def purge(self, topic: str, channel: str) -> int:
        return Memory(topic, channel).purge()


def _revived(topic: str, channel: str, fields: dict[bytes, bytes]) -> bytes:
    of = {name.decode(): value.decode(errors="replace") for name, value in fields.items()}
    try:
        json.loads(of["body"])
    except ValueError:
        return fields[b"body"]  # it is not a message: each channel buries it again
    one = Outgoing(of["id"], topic, of["action"], of["body"], of["published_at"])
    return wire.envelope(one, channel)


@lru_cache(maxsize=8)
def _addresses(url: str) -> Addresses:
    return addresses(url)
