"""Every key of the feeds' Redis: pattern, type, content, lifetime.

Two are public and stay as they are, so that anyone may look into them with redis-cli: the lists
`followers:{user}` and `homefeed:{user}`, plain ids both, `{user}` being the id without braces. A private key
lies in the slot of the public key it belongs to, by a hash tag, so that one layout serves a single server and
a cluster: `floor:{homefeed:1990}`, with these braces (`connections/hash_tags.py`); `{…}` below.

The word that says what a key is stands first, never behind the id: user ids may be any text, and no id must
lead into another key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ..conf import conf
from ..connections.hash_tags import beside, text_in
from ..connections.redis_lives import Lives
from ..models import UserId


def _public(word: str, of: object) -> str:
    return f"{conf.KEY_PREFIX}{word}:{of}"


def _of_list(word: str, author_id: UserId, rest: str = "") -> str:
    """A private key of an author, in the slot of their follower list."""
    return beside(f"{conf.KEY_PREFIX}{word}", followers(author_id), rest)


def _of_feed(word: str, user_id: UserId) -> str:
    """A private key of a user, in the slot of their home feed."""
    return beside(f"{conf.KEY_PREFIX}{word}", homefeed(user_id))


def of_many(makes: Sequence[Callable[[UserId], str]], user_ids: Iterable[UserId]) -> Iterator[str]:
    """Yields the keys that these functions make for each of the users, at a third of the cost."""
    around = [make("\0").split("\0") for make in makes]
    for user_id in map(str, user_ids):
        if "}" in user_id:
            yield from (make(user_id) for make in makes)
        else:
            yield from (f"{before}{user_id}{behind}" for before, behind in around)


def followers(user_id: UserId) -> str:
    """`followers:{user}`, list: follower ids in the order they followed. Appended to, never popped;
    kept until compaction replaces it."""
    return _public("followers", user_id)


def marks(user_id: UserId) -> str:
    """`followers-marks:{…}`, hash: follower -> `{bound}:{version}`, for each change since the list
    was last rewritten. Entries of that follower at an index below `bound` are dead."""
    return _of_list("followers-marks", user_id)


def state(user_id: UserId) -> str:
    """`followers-state:{…}`, hash: `generation` (new at each rewrite of the list), `top` (highest
    version of a change that was applied), `upto` (changes up to this version have lost their marks).
    Kept as long as the list."""
    return _of_list("followers-state", user_id)


def rewrite(user_id: UserId) -> str:
    """`followers-rewrite:{…}`, hash: `token`, `copied`, `upto`, `beat` of the rewrite (rebuild or
    compaction) that is under way. Goes with the swap; one whose beat is older than the lease may be
    taken over."""
    return _of_list("followers-rewrite", user_id)


def next_followers(user_id: UserId) -> str:
    """`followers-next:{…}`, list: what is to take the place of `followers:{user}`. Goes with the swap."""
    return _of_list("followers-next", user_id)


def next_marks(user_id: UserId) -> str:
    """`followers-next-marks:{…}`, hash: marks of `followers-next:{…}`. Goes with the swap."""
    return _of_list("followers-next-marks", user_id)


def followers_seen(user_id: UserId, token: str) -> str:
    """`followers-seen:{…}:{token}`, set: a copy of the follower list that `verify_feeds` takes, for
    the time it compares, an hour at most."""
    return _of_list("followers-seen", user_id, f":{token}")


def running(user_id: UserId) -> str:
    """`fanouts:{…}`, set: photo ids of this author's fan-outs under way. While it has a member the
    follower list is not rewritten, because cursors point into it."""
    return _of_list("fanouts", user_id)


def fanout(author_id: UserId, photo_id: int | str) -> str:
    """`fanout:{…}:{photo}`, hash: cursor and counters of a fan-out (fields in `lua/claim.lua`). Made
    by its first task, gone some minutes after the ledger says that it has ended."""
    return _of_list("fanout", author_id, f":{photo_id}")


def built(author_id: UserId, photo_id: int) -> str:
    """`fanout-built:{…}:{photo}`, set: users whose list was built from SQL with this photo before its
    fan-out had ended; pushes to them look whether it is there. Goes when the fan-out ends, or after a day."""
    return _of_list("fanout-built", author_id, f":{photo_id}")


def left(author_id: UserId, photo_id: int) -> str:
    """`fanout-left:{…}:{photo}`, sorted set: what nodes of a cluster that did not answer have left over of
    batches (`lua/commit_batch.lua`), in the order in which it is tried again. Gone when nothing is left."""
    return _of_list("fanout-left", author_id, f":{photo_id}")


def ended(slot: int | None = None) -> str:
    """`fanouts-ended`, sorted set: `{photo}:{author}` of fan-outs that have served everybody, by when; until
    the ledger says `done`. On a cluster many, `fanouts-ended:{…}`, each in this slot."""
    name = f"{conf.KEY_PREFIX}fanouts-ended"
    return name if slot is None else f"{name}:{{{text_in(slot)}}}"


def settled(slot: int) -> str:
    """`settled:{…}`, string: a counter in the first slot of each node of a cluster, one up whenever it is
    asked whether its replicas have all that it has. Kept."""
    return f"{conf.KEY_PREFIX}settled:{{{text_in(slot)}}}"


def history(slot: int) -> str:
    """`history:{…}`, list: the last texts that were written there to see whether the node still has them, see
    `losses`. Lies as `settled:{…}` does. Kept."""
    return f"{conf.KEY_PREFIX}history:{{{text_in(slot)}}}"


def queue() -> str:
    """`queue`, hash: how far the broker's queue has come (see `lua/claim.lua`). Kept."""
    return f"{conf.KEY_PREFIX}queue"


def homefeed(user_id: UserId) -> str:
    """`homefeed:{user}`, list: photo ids, newest arrival first; at most `MAX_LENGTH` and a tenth."""
    return _public("homefeed", user_id)


def floor(user_id: UserId) -> str:
    """`floor:{…}`, string: the id from which upwards `homefeed:{user}` is complete. None: not known."""
    return _of_feed("floor", user_id)


def token(user_id: UserId) -> str:
    """`token:{…}`, string: names the state of a home feed that a rebuild started from; deleted by
    whatever changes that state, so that the rebuild's result is not swapped in."""
    return _of_feed("token", user_id)


def build(user_id: UserId) -> str:
    """`homefeed-build:{…}`, string: held by the reader who builds the home feed; goes with the swap,
    or after the lease."""
    return _of_feed("homefeed-build", user_id)


def relations(user_id: UserId) -> str:
    """`relations:{…}`, string: names the present set of users they follow, mute and block; part of
    the cache keys of what was derived from it. Deleted at each change, made anew by a reader."""
    return _of_feed("relations", user_id)


def likes(user_id: UserId) -> str:
    """`likes:{…}`, string: the same for what the user likes."""
    return _of_feed("likes", user_id)


def receipts(lives: Lives | None = None) -> str:
    """`graph-applied`, sorted set: ids of `PendingChange` rows, by when they were applied. Written after
    the changes, so that a crash that takes a change back takes its id back, too. Each goes with its row. On a
    cluster `graph-applied:{lives}:{…}`, at a node that lives."""
    name = f"{conf.KEY_PREFIX}graph-applied"
    return name if lives is None else f"{name}:{lives.name}:{{{text_in(lives.slot)}}}"


def rescuing() -> str:
    """`rescuing`, string: a rescue has just begun. Lives for a second."""
    return f"{conf.KEY_PREFIX}rescuing"


def settling() -> str:
    """`settling`, string: a task is on its way that looks at the fan-outs that have ended. Lives for
    `SETTLE_SECONDS`."""
    return f"{conf.KEY_PREFIX}settling"


def catching_up() -> str:
    """`catching-up`, string: token of the process that empties the graph's outbox. Lives for as long as that
    takes, some seconds."""
    return f"{conf.KEY_PREFIX}catching-up"


def outbox_position() -> str:
    """`outbox-position`, string: id of the row at which the last call that empties the graph's outbox ran out
    of time. Kept."""
    return f"{conf.KEY_PREFIX}outbox-position"


def sending() -> str:
    """`sending`, string: the same for the outbox of events."""
    return f"{conf.KEY_PREFIX}sending"


def pulled() -> str:
    """`pulled`, string: a photo that was not pushed (`PULL_ABOVE`). While it is there readers look for
    such photos in SQL; without it, only if `PULL_ABOVE` is set."""
    return f"{conf.KEY_PREFIX}pulled"


def homefeed_words() -> tuple[str, str, str]:
    """What the keys of home feeds begin with, and the words of their floors and tokens.

    For scripts, which make these keys for each follower themselves (`lua/private_key.lua`).
    """
    return homefeed(""), f"{conf.KEY_PREFIX}floor:", f"{conf.KEY_PREFIX}token:"
