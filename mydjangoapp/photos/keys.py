"""The keys of what is in Django's cache."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from ..conf import conf

_PLAIN = re.compile("[A-Za-z0-9_-]+")
VERSION = 4  # of what is kept: entries of another version are not read
STAMPS_VERSION = 3  # of stamps: processes of two versions have to see each other's changes


def cached(kind: str, ids: Iterable[Any], version: int = VERSION) -> dict[Any, str]:
    """For each id `mydjangoapp:{version}:{kind}:{id}`, in Django's cache and not in the feeds' Redis. Quoted,
    because memcached takes no spaces."""
    word = f"{conf.KEY_PREFIX}mydjangoapp:{version}:{_safe(kind)}:"
    return {id_: f"{word}{id_ if isinstance(id_, int) else _safe(str(id_))}" for id_ in ids}


def _safe(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(text, safe="-")
