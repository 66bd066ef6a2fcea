"""nsqd's and nsqlookupd's HTTP."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from ...conf import conf
from ...connections.breaker import Breaker
from ...exceptions import BadSetting, EventsRefused, EventsUnavailable


def post(address: str, path: str, body: bytes = b"", **query: Any) -> None:
    """Raises `EventsUnavailable`, `EventsRefused`."""
    if _ask("POST", address, path, body, query) is None:
        raise EventsRefused(f"http://{address} knows no {path}: is it the HTTP port of nsqd?")


def get(address: str, path: str, **query: Any) -> Any:
    """The JSON that is answered, None where it is not found. Raises `EventsUnavailable`, `EventsRefused`."""
    found = _ask("GET", address, path, b"", query)
    return None if found is None else json.loads(found)


def _ask(method: str, address: str, path: str, body: bytes, query: dict[str, Any]) -> bytes | None:
    pool = _pool()
    import urllib3

    url = f"http://{address}{path}" + (f"?{urlencode(query)}" if query else "")
    timeout = urllib3.Timeout(total=conf.PUBLISH_TIMEOUT)
    breaker = _breaker(address)
    if not breaker.allows():
        raise _unavailable(address, "it did not a moment ago")
    try:
        answer = pool.request(method, url, body=body, timeout=timeout, retries=False)
    except urllib3.exceptions.HTTPError as error:
        breaker.trip()
        raise _unavailable(address, type(error).__name__) from error
    breaker.reset()
    if answer.status == 404:
        return None
    if answer.status == 503:
        raise EventsUnavailable(f"nsqd at http://{address} is stopping.")
    if answer.status != 200:
        said = answer.data[:200].decode(errors="replace")
        raise EventsRefused(f"nsqd at http://{address} refused {path}: {answer.status} {said}")
    return bytes(answer.data)


def _unavailable(address: str, why: str) -> EventsUnavailable:
    return EventsUnavailable(
        f"nsqd at http://{address} does not answer ({why}). Check that it runs and that "
        "MYDJANGOAPP['EVENTS_URL'] names its HTTP port."
    )


@lru_cache(maxsize=64)
def _breaker(address: str) -> Breaker:
    return Breaker(seconds=1.0)


@lru_cache(maxsize=1)
def _pool() -> Any:
    try:
        import urllib3
    except ImportError as error:
        raise BadSetting("EVENTS_URL", "names NSQ, which needs `pip install mydjangoapp[nsq]`") from error
    return urllib3.PoolManager(maxsize=8)
