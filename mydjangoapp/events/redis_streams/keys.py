"""Every key of events in Redis: pattern, type, content, lifetime.

A topic's keys carry it in braces, so that they lie in one slot of a cluster. Names of topics and
channels have no colon (`message.check_name`), so no name leads into another's key.
"""

from __future__ import annotations

from ...conf import conf


def topics() -> str:
    """`events:topics`, set: the topics that have, or had, a channel. Kept."""
    return f"{conf.KEY_PREFIX}events:topics"


def stream(topic: str) -> str:
    """`events:{topic}`, stream: `id`, `action`, `body` (JSON), `published_at` of each message, with a group
    per channel. Cut at `EVENTS_KEEP`, but never where a channel has not finished."""
    return f"{conf.KEY_PREFIX}events:{{{topic}}}"


def receipts(topic: str) -> str:
    """`events:{topic}:receipts`, sorted set: rows of the outbox whose messages have been published, by when
    (seconds). Each goes with its row."""
    return f"{stream(topic)}:receipts"


def settled(topic: str) -> str:
    """`events:{topic}:settled`, string: on a cluster, a counter that is one up whenever it is asked whether
    the topic's node has what it acknowledged for good. Kept."""
    return f"{stream(topic)}:settled"


def channels(topic: str) -> str:
    """`events:{topic}:channels`, hash: channel -> stream id up to which everything is finished. What is
    subscribed, so that a group that was deleted can be made again where it stood. Kept."""
    return f"{stream(topic)}:channels"


def nsq_channels(topic: str) -> str:
    """`events:{topic}:nsq`, set: channels that were made on NSQ, so that one who makes a channel knows that
    it was the first. Kept."""
    return f"{stream(topic)}:nsq"


def publish_later(topic: str) -> str:
    """`events:{topic}:later`, sorted set: messages that are published with a delay, by when (ms). Each goes
    when it is due."""
    return f"{stream(topic)}:later"


def again(topic: str, channel: str) -> str:
    """`events:{topic}:{channel}:again`, stream: messages that come to this channel once more, with the
    `attempts` so far. Entries go when they are taken and finished."""
    return f"{stream(topic)}:{channel}:again"


def later(topic: str, channel: str) -> str:
    """`events:{topic}:{channel}:later`, sorted set: messages that were requeued, by when they are due (ms);
    then they move to `again`."""
    return f"{stream(topic)}:{channel}:later"


def dead(topic: str, channel: str) -> str:
    """`events:{topic}:{channel}:dead`, stream: dead letters, with `attempts` and `reason`. Kept until they
    are replayed or purged."""
    return f"{stream(topic)}:{channel}:dead"


def done(topic: str, channel: str) -> str:
    """`events:{topic}:{channel}:done`, sorted set: ids of finished messages, by when (seconds). Members go
    after `EVENTS_REMEMBER`."""
    return f"{stream(topic)}:{channel}:done"
