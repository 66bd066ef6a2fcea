"""What the scripts can hold."""

from __future__ import annotations

from ...conf import conf

LARGEST_ID = 2**53 - 1  # of a photo: Lua's numbers are exact up to there
FENCE_SECONDS = 3.0  # on a cluster: for so long after its claim a batch pushes without looking
PULLED_SECONDS = 1.0  # on a cluster: how long a process relies on there being no photo that is not pushed
BUILT_SECONDS = 86_400  # for how long Redis knows which lists were built while a fan-out ran
TRIM_SHARE = 10  # lists grow by a tenth of MAX_LENGTH before they are cut back, all at once


def trim_slack() -> int:
    """By how many ids a list may exceed `MAX_LENGTH` before it is cut back."""
    return max(1, conf.MAX_LENGTH // TRIM_SHARE)
