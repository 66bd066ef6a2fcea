"""The feeds' Redis."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..conf import conf
from ..connections.redis_server import Store
from ..exceptions import FeedsRefused, FeedsUnavailable

if TYPE_CHECKING:
    from redis import Redis


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


def eviction_policy() -> str | None:
    """The server's `maxmemory-policy`, None where a provider hides it. Raises `FeedsUnavailable`."""
    try:
        with edge():
            policies: dict[str, str] = client().config_get("maxmemory-policy")  # type: ignore[assignment]
    except FeedsRefused:
        return None
    value = next(iter(policies.values()), None)
    return value.decode() if isinstance(value, bytes) else value


def persists() -> bool | None:
    """Whether the server writes an append-only file, None where a provider hides it. Raises
    `FeedsUnavailable`."""
    try:
        with edge():
            info: dict[str, Any] = client().info("persistence")
    except FeedsRefused:
        return None
    return bool(info.get("aof_enabled"))


def ping() -> None:
    """Returns if the server answers, raises `FeedsUnavailable` if not. One round trip."""
    with edge():
        client().ping()
