"""Every key of the feeds' Redis: pattern, type, content, lifetime.

Two are public and stay as they are, so that anyone may look into them with redis-cli: the lists
`followers:{user}` and `homefeed:{user}`, plain ids both. The word that says what a key is stands
first, never behind the id: user ids may be any text, and no id must lead into another key.
"""

from __future__ import annotations

from ..conf import conf


def _key(word: str, of: object) -> str:
    return f"{conf.KEY_PREFIX}{word}:{of}"


def followers(user: object) -> str:
    """`followers:{user}`, list: follower ids in the order they followed. Appended to, never popped;
    kept until compaction replaces it."""
    return _key("followers", user)


def marks(user: object) -> str:
    """`followers-marks:{user}`, hash: follower -> `{bound}:{version}`, for each change since the list
    was last rewritten. Entries of that follower at an index below `bound` are dead."""
    return _key("followers-marks", user)


def state(user: object) -> str:
    """`followers-state:{user}`, hash: `generation` (new at each rewrite of the list), `top` (highest
    version of a change that was applied), `upto` (changes up to this version have lost their marks).
    Kept as long as the list."""
    return _key("followers-state", user)


def rewrite(user: object) -> str:
    """`followers-rewrite:{user}`, hash: `token`, `copied`, `upto`, `beat` of the rewrite (rebuild or
    compaction) that is under way. Goes with the swap; one whose beat is older than the lease may be
    taken over."""
    return _key("followers-rewrite", user)


def next_followers(user: object) -> str:
    """`followers-next:{user}`, list: what is to take the place of `followers:{user}`. Goes with the swap."""
    return _key("followers-next", user)


def next_marks(user: object) -> str:
    """`followers-next-marks:{user}`, hash: marks of `followers-next:{user}`. Goes with the swap."""
    return _key("followers-next-marks", user)


def running(user: object) -> str:
    """`fanouts:{user}`, set: photo ids of this author's fan-outs under way. While it has a member the
    follower list is not rewritten, because cursors point into it."""
    return _key("fanouts", user)


def fanout(photo: object) -> str:
    """`fanout:{photo}`, hash: cursor and counters of a fan-out (fields in `lua/claim.lua`). Made by
    its first task, gone some minutes after the ledger says that it has ended."""
    return _key("fanout", photo)


def homefeed(user: object) -> str:
    """`homefeed:{user}`, list: photo ids, newest arrival first; at most `MAX_LENGTH` and a tenth."""
    return _key("homefeed", user)


def floor(user: object) -> str:
    """`floor:{user}`, string: the id from which upwards `homefeed:{user}` is complete. None: not known."""
    return _key("floor", user)


def token(user: object) -> str:
    """`token:{user}`, string: names the state of a home feed that a rebuild started from; deleted by
    whatever changes that state, so that the rebuild's result is not swapped in."""
    return _key("token", user)


def homefeed_words() -> tuple[str, str, str]:
    """What stands before the user id in the keys of a home feed, its floor and its token.

    For scripts, which make these keys for each follower themselves.
    """
    return homefeed(""), floor(""), token("")
