"""The events' Redis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from ...conf import conf
from ...connections.redis_server import Script, Store
from ...connections.redis_topology import is_cluster
from ...exceptions import EventsRefused, EventsUnavailable

DATABASE = 3  # 0 has the feeds, 1 is the broker's, 2 the cache's


def beside_the_feeds() -> str:
    """The URL of database 3 of the feeds' Redis server; of the feeds' cluster, which has one database."""
    if is_cluster(conf.REDIS_URL):
        return conf.REDIS_URL
    parts = urlsplit(conf.REDIS_URL)
    if parts.scheme == "unix":
        return parts._replace(query=urlencode(dict(parse_qsl(parts.query)) | {"db": DATABASE})).geturl()
    return parts._replace(path=f"/{DATABASE}").geturl()


def store(url: str, *, publishing: bool = False) -> Store:
    """The Redis at this URL. A publisher may be a web request: it waits for `PUBLISH_TIMEOUT` at most and
    tries once, because there is an outbox."""
    return Store(
        title="events' Redis",
        setting="EVENTS_URL",
        url=url,
        timeout=min(conf.PUBLISH_TIMEOUT, conf.REDIS_TIMEOUT) if publishing else conf.REDIS_TIMEOUT,
        unavailable=EventsUnavailable,
        refused=EventsRefused,
        retries=0 if publishing else 1,
    )


def run(url: str, script: str, keys: list[str], args: Sequence[Any]) -> Any:
    """Runs `lua/{script}.lua` there. One round trip, two the first time."""
    return _script(script, url, False)(keys, list(args))


def run_to_publish(url: str, script: str, keys: list[str], args: Sequence[Any]) -> Any:
    """The same for a publisher."""
    return _script(script, url, True)(keys, list(args))


@lru_cache(maxsize=64)
def _script(name: str, url: str, publishing: bool) -> Script:
    return Script(name, __package__, partial(store, url, publishing=publishing))
