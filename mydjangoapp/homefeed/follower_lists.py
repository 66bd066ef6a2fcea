"""Building the follower lists of many authors at once, as after an import."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Sequence

from django.db.models import Count

from ..exceptions import FollowersBeingRebuilt
from ..models import UserId
from . import followers, scripts

AUTHORS_AT_ONCE = 200  # whose rows are in memory together


def build_missing(author_ids: Sequence[UserId]) -> int:
    """Builds those of these authors' lists that are missing; returns how many that were.

    By the same steps as `followers.rebuild`, each for 200 authors in one round trip; authors with many
    followers one by one. What another process is building is left to it. Raises `FeedsUnavailable`,
    `FeedsRefused`.
    """
    built = 0
    for start in range(0, len(author_ids), AUTHORS_AT_ONCE):
        missing = followers.missing(author_ids[start : start + AUTHORS_AT_ONCE])
        numbers = followers.follows().filter(followee__in=missing).order_by().values_list("followee")
        sizes = dict(numbers.annotate(Count("id")))
        small = [author for author, number in sizes.items() if number <= followers.ENTRIES_PER_CALL]
        built += _build_small(small) if small else 0
        for author in sizes.keys() - set(small):
            try:
                built += followers.ensure(author)
            except FollowersBeingRebuilt:
                continue
    return built


def _build_small(author_ids: list[UserId]) -> int:
    tokens = {author: secrets.token_hex(8) for author in author_ids}
    begun = scripts.begin_rewrite.many(
        [followers.begin_call(author, token, must_exist=False) for author, token in tokens.items()]
    )
    ours = [author for author, outcome in zip(author_ids, begun, strict=True) if outcome == b"begun"]
    rows: defaultdict[UserId, list[tuple[int, UserId]]] = defaultdict(list)
    found = followers.follows().filter(followee__in=ours).order_by("followee", "id")
    for author, follow_id, follower in found.values_list("followee", "id", "follower"):
        rows[author].append((follow_id, follower))
    ours = [author for author in ours if rows[author]]
    appended = scripts.append_rewrite.many(
        [followers.append_call(author, tokens[author], 0, rows[author]) for author in ours]
    )
    ours = [author for author, outcome in zip(ours, appended, strict=True) if outcome == b"appended"]
    swapped = scripts.swap_rewrite.many(
        [followers.swap_call(author, tokens[author], 2 * rows[author][-1][0] + 1) for author in ours]
    )
    return sum(outcome == b"swapped" for outcome in swapped)
