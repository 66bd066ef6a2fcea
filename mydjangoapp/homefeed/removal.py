"""Taking a deleted photo out of the lists. Readers do not depend on it: they ask the truth."""

from __future__ import annotations

from ..conf import conf
from ..models import UserId
from . import keys, scripts

FOLLOWERS_PER_CALL = 50


def remove(photo_id: int, author_id: UserId, cursor: int) -> int | None:
    """Removes it for a batch of followers; returns where the next batch begins, None at the end.

    May be repeated. One round trip per 50 followers. Raises `FeedsUnavailable`, `FeedsRefused`.
    """
    stop = cursor + conf.BATCH_SIZE
    while cursor < stop:
        last = min(cursor + FOLLOWERS_PER_CALL, stop) - 1
        served = scripts.remove(
            [keys.followers(author_id)], [photo_id, keys.homefeed(""), cursor, last, str(author_id)]
        )
        cursor += served
        if served <= 0 or cursor <= last:
            return None
    return cursor
