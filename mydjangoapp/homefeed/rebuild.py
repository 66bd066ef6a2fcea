"""Making a home feed's list anew from SQL, while photos go on arriving."""

from __future__ import annotations

import secrets
from typing import Any

from ..conf import conf
from . import keys, scripts, truth
from .delivery import trim_slack


def build(user: Any, *, again: bool = False) -> bool:
    """Builds the list and its floor, `again` also if they are there; True if they were swapped in.

    False if another process is at it or was faster, if a change came in between (the next reader
    builds again), or if there is nothing to put in. Two round trips, one query.
    Raises `FeedsUnavailable`, `FeedsRefused`.
    """
    begun = scripts.begin_build(
        [keys.build(user), keys.token(user), keys.homefeed(user), keys.floor(user)],
        [secrets.token_hex(8), int(conf.LEASE_SECONDS * 1000), int(again)],
    )
    if begun is None:
        return False
    token, had_list = begun
    ids = list(truth.carried_to(user).values_list("id", flat=True)[: conf.MAX_LENGTH])
    floor = ids[-1] if len(ids) >= conf.MAX_LENGTH else 0
    arguments = [token, had_list, floor, conf.MAX_LENGTH, trim_slack(), conf.INACTIVE_AFTER or ""]
    names = [keys.build(user), keys.token(user), keys.homefeed(user), keys.floor(user)]
    return bool(scripts.swap_build(names, [*arguments, *ids]))
