"""A feed in an order of the site's own, a window of the newest photos at a time.

Each page looks at the newest `RANKING_CANDIDATES` photos below a place, leaves out those that earlier pages
have shown, and shows the best of the rest. The window moves on when all of it has been shown. So whatever the
order is, and however it changes from page to page, each photo is shown once, also one that arrives late
within the window.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from more_itertools import peekable

from ..conf import conf
from ..models import UserId
from ..photos import visibility

logger = logging.getLogger(__name__)
Entry = TypeVar("Entry", bound=Any)


class Place(NamedTuple):
    """Where the next page begins: below the photo id `below`, without the ids in `shown`."""

    below: int = visibility.EVERYTHING
    shown: tuple[int, ...] = ()


Order = Callable[[UserId, list[Entry]], Iterable[Entry]]


def ranked(
    user_id: UserId,
    down: Callable[[int], Iterator[Entry]],
    place: Place,
    *,
    limit: int,
    order: Order[Entry] | None,
) -> tuple[list[Entry], Place | None]:
    """A page from a place, and the place of the next one; None at the end of the feed.

    `down`: the entries below an id, newest first. `order` gets the user's id and the candidates, and
    returns them in its order; what it leaves out comes after.
    """
    below, shown = place.below, set(place.shown)
    page: list[Entry] = []
    while True:
        stream = peekable(down(below))
        window = list(islice(stream, conf.RANKING_CANDIDATES))
        if window and below == visibility.EVERYTHING:
            below = window[0].photo.id + 1  # what comes in on top later is not in the window
        candidates = [entry for entry in window if entry.photo.id not in shown]
        best = _ordered(user_id, candidates, order)[: limit - len(page)]
        page += best
        shown |= {entry.photo.id for entry in best}
        if len(best) < len(candidates):
            return page, Place(below, tuple(sorted(shown)))
        if not stream:
            return page, None
        below = window[-1].photo.id
        shown = {photo_id for photo_id in shown if photo_id < below}
        if len(page) == limit:
            return page, Place(below, tuple(sorted(shown)))


def _ordered(user_id: UserId, candidates: list[Entry], order: Order[Entry] | None) -> list[Entry]:
    if order is None or len(candidates) < 2:
        return candidates
    by_id = {entry.photo.id: entry for entry in candidates}
    try:
        ranked_ids = [entry.photo.id for entry in order(user_id, list(candidates))]
    except Exception:
        logger.exception("RANKING failed: the feed of user %s is in its own order", user_id)
        return candidates
    return [by_id[photo_id] for photo_id in dict.fromkeys((*ranked_ids, *by_id)) if photo_id in by_id]
