"""The feeds' Redis."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from ..conf import conf
from ..connections.redis_lives import Kept
from ..connections.redis_server import Store
from ..exceptions import FeedsRefused, FeedsUnavailable
from . import keys

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)


def store() -> Store:
    """As the settings name it now."""
    return Store(
        title="feeds' Redis",
        setting="REDIS_URL",
        url=conf.REDIS_URL,
        timeout=conf.REDIS_TIMEOUT,
        unavailable=FeedsUnavailable,
        refused=FeedsRefused,
    )


def client() -> Redis:
    """The client of the configured `REDIS_URL`; it connects at the first command."""
    return store().client()


def server() -> str:
    """Host and port of the feeds' Redis, without user and password, for messages."""
    return store().server


def edge() -> AbstractContextManager[None]:
    """Turns redis-py's errors into `FeedsUnavailable` and `FeedsRefused`."""
    return store().edge()


@contextmanager
def unless_its_node_is_away(without: str) -> Iterator[None]:
    """Ends the block where one node of a cluster does not answer, and logs what the app does `without` it.
    Raises `FeedsUnavailable` of a single server."""
    try:
        yield
    except FeedsUnavailable as error:
        if not store().is_cluster:
            raise
        logger.warning("%s: %s", without, error)


def eviction_policy() -> str | None:
    """The server's `maxmemory-policy`, in a cluster one that is not `noeviction` if there is such; None where
    a provider hides it. Raises `FeedsUnavailable`."""
    try:
        with edge():
            found: list[Any] = [node.config_get("maxmemory-policy") for node in store().nodes()]
    except FeedsRefused:
        return None
    values = [value for policies in found for value in policies.values()]
    policies = {value.decode() if isinstance(value, bytes) else value for value in values}
    return next(iter(policies - {"noeviction"} or policies), None)


def persists() -> bool | None:
    """Whether the server, or each of them, writes an append-only file, None where a provider hides it. Raises
    `FeedsUnavailable`."""
    try:
        with edge():
            found: list[Any] = [node.info("persistence") for node in store().nodes()]
    except FeedsRefused:
        return None
    return all(info.get("aof_enabled") for info in found)


def life(*, now: bool = False) -> str:
    """Names the present life of the server: another after a restart. Of a cluster's nodes, all of them, as it
    was within the last second, or is `now`. One round trip. Raises `FeedsUnavailable`, `FeedsRefused`."""
    with edge():
        if store().is_cluster:
            return store().lives(now=now).name
        server: Any = client().info("server")
    return str(server["run_id"])


def kept() -> Kept | None:
    """What the cluster's nodes have for good of all that they acknowledged before this call; None for a
    single server, of which time tells (`SETTLE_SECONDS`). Two round trips per node. Raises
    `FeedsUnavailable`."""
    with edge():
        return store().kept(keys.settled)


def oldest_version() -> tuple[int, ...]:
    """The version of the oldest server, as Redis counts. Raises `FeedsUnavailable`."""
    with edge():
        found: list[Any] = [node.info("server")["redis_version"] for node in store().nodes()]
    return min(tuple(map(int, str(version).split("."))) for version in found)


def ping() -> None:
    """Returns if the server answers, in a cluster if all do; raises `FeedsUnavailable` if not."""
    with edge():
        for node in store().nodes():
            node.ping()
