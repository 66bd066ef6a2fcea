"""The photos of a circle that were liked most on a day, as one user may see them."""

from __future__ import annotations

import logging
from datetime import date, timedelta
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from ..exceptions import FeedError
from ..homefeed import reader
from ..homefeed.reader import Entry
from ..models import Circle, get_photo_model
from ..photos.visibility import not_blocking
from . import projection

logger = logging.getLogger(__name__)

SPARE = 100  # ranked photos that may be missing because they were deleted or their author blocks the reader


class Ranked(NamedTuple):
    """A photo in a ranking."""

    entry: Entry
    score: int


def best_of(circle: Circle, day: date, user: Any, limit: int) -> list[Ranked]:
    """The best first, of equal ones the newest. While Redis is away, or has lost some, they come from SQL."""
    scores = dict(_ranking(circle, day, limit + SPARE))
    photos = not_blocking(get_photo_model()._default_manager.filter(circle_id=circle.pk, id__in=scores), user)
    there = {photo.pk: photo for photo in photos}
    best = [there[id_] for id_ in scores if id_ in there][:limit]
    return [Ranked(entry, scores[entry.photo.id]) for entry in reader.entries_of(user.pk, best)]


def _ranking(circle: Circle, day: date, limit: int) -> list[tuple[int, int]]:
    try:
        found = projection.ranking(circle.pk, day, limit)
        if found is not None:
            return found
        projection.ask_for_rebuild(circle.pk)
    except FeedError as error:
        logger.warning("the ranking of circle %s comes from SQL: %s", circle.pk, error)
    return projection.ranking_from_sql(circle.pk, day, limit)


def day_in(text: str | None) -> date:
    """The day that a query names, today if it names none. Raises `ValueError` with the reason."""
    if text is None:
        return projection.today()
    try:
        day = date.fromisoformat(text)
        if day.isoformat() != text:
            raise ValueError
    except ValueError as error:
        raise ValueError(_("Give a day as YYYY-MM-DD.")) from error
    if day > projection.today() + timedelta(days=1):
        raise ValueError(_("That day has not come yet."))
    if not projection.is_kept(day):
        raise ValueError(_("Rankings are kept for %(days)s days.") % {"days": projection.KEPT_DAYS})
    return day
