"""Making a home feed's list anew from SQL, while photos go on arriving."""

from __future__ import annotations

import logging
import secrets

from ..conf import conf
from ..connections import database
from ..models import FanOut, UserId, author_column
from ..photos import visibility
from . import keys, scripts
from .delivery import LARGEST_ID, note_built, trim_slack

logger = logging.getLogger(__name__)


def build(user_id: UserId, *, again: bool = False) -> bool:
    """Builds the list and its floor, `again` also if they are there; True if they were swapped in.

    False if another process is at it or was faster, if a change came in between (the next reader
    builds again), or if there is nothing to put in. Two round trips, up to four where fan-outs of its photos
    have not ended; one query.
    Raises `FeedsUnavailable`, `FeedsRefused`.
    """
    begun = scripts.begin_build(
        [keys.build(user_id), keys.token(user_id), keys.homefeed(user_id), keys.floor(user_id)],
        [secrets.token_hex(8), int(conf.LEASE_SECONDS * 1000), int(again)],
    )
    if begun is None:
        return False
    token, had_list = begun
    # One query: a photo and its fan-out as they were at the same moment.
    carried = visibility.carried_to(user_id).using(database.writer())
    newest = carried.values_list("id", "fanout__state", author_column())
    rows = list(newest[: conf.MAX_LENGTH])
    if rows and rows[0][0] > LARGEST_ID:
        logger.error("the feed of user %s stays in SQL: photo %s has too large an id", user_id, rows[0][0])
        return False
    floor = rows[-1][0] if len(rows) >= conf.MAX_LENGTH else 0
    # Also one that has come to its end and is not `done`: a crash of Redis may have taken the end back.
    to_come = [(photo, author) for photo, state, author in rows if state in FanOut.OPEN]
    # The chain that brings one of these later must look whether it is there. So it is told before: marked
    # in vain, a push costs a little more. But whether the author's own list has a photo tells a chain that
    # has lost its state whether it had begun: marked in vain, that would be lost.
    note_built(user_id, [one for one in to_come if str(one[1]) != str(user_id)])
    arguments = [token, had_list, floor, conf.MAX_LENGTH, trim_slack(), conf.INACTIVE_AFTER or ""]
    arguments += [photo for photo, *_ in rows]
    names = [keys.build(user_id), keys.token(user_id), keys.homefeed(user_id), keys.floor(user_id)]
    if not scripts.swap_build(names, arguments):
        return False
    note_built(user_id, [one for one in to_come if str(one[1]) == str(user_id)])
    return True
