"""Which transport carries a topic, by the settings."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..conf import conf
from ..exceptions import BadSetting
from .transport import Transport


def for_topic(topic: str) -> Transport | None:
    """What carries this topic; None if it is switched off. Raises `BadSetting`."""
    return at(conf.EVENTS_TOPICS.get(topic, conf.EVENTS_URL))


def all_there_are() -> list[Transport]:
    """Each that the settings name, once."""
    found = [at(url) for url in dict.fromkeys([conf.EVENTS_URL, *conf.EVENTS_TOPICS.values()])]
    return [transport for transport in found if transport is not None]


def at(url: str | None) -> Transport | None:
    """The transport of a URL, None for `off`; None for a URL means database 3 of the feeds' Redis, or
    the feeds' cluster."""
    if url == "off":
        return None
    if url is None and conf.REDIS_URL == "off":
        return None
    if url is None:
        from .redis_streams.server import beside_the_feeds

        url = beside_the_feeds()
    if urlsplit(url).scheme in {"redis", "rediss", "unix", "redis+cluster", "rediss+cluster"}:
        from .redis_streams.transport import RedisStreams

        return RedisStreams(url)
    if urlsplit(url).scheme in {"nsq", "nsq+lookupd"}:
        from .nsq.transport import Nsq

        return Nsq(url)
    raise BadSetting("EVENTS_URL", f"names nothing that can carry events: {url!r}")
