"""The keys of what is in Django's cache."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from ..conf import conf

VERSION = 2  # of what is kept: entries of another version are not read


def cached(kind: str, ids: Iterable[Any]) -> dict[Any, str]:
    """For each id `mydjangoapp:{version}:{kind}:{id}`, in Django's cache and not in the feeds' Redis. Quoted,
    because memcached takes no spaces."""
    word = f"{conf.KEY_PREFIX}mydjangoapp:{VERSION}:{quote(kind, safe='-')}:"
    return {id_: f"{word}{id_ if isinstance(id_, int) else quote(str(id_), safe='')}" for id_ in ids}
