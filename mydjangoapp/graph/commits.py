"""What a change of the graph does in Redis: at once when it has committed, or later by the outbox."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from .. import outbox
from ..connections import database
from ..exceptions import FeedError
from ..homefeed import followers, receipts, relations
from ..homefeed.followers import Change
from ..models import UserId

logger = logging.getLogger(__name__)


def bring_in_on_commit(
    followee_id: UserId, changes: list[Change], then: Callable[[UserId], None] | None = None
) -> None:
    """Writes the changes down, and brings them into the author's follower list when the transaction commits;
    then calls `then` with the author's id."""
    noted = outbox.note_changes(followee_id, changes)

    def bring_in() -> None:
        at = receipts.where()
        followers.apply(followee_id, changes)
        if then:
            then(followee_id)
        outbox.settled(noted, at)

    database.on_commit(partial(in_redis, followee_id, bring_in))


def drop_feed_on_commit(user_id: UserId) -> None:
    """Makes the user's next read rebuild their home feed, once the transaction has committed."""
    database.on_commit(partial(in_redis, user_id, partial(relations.drop_feeds, user_id)))


def tell_readers_on_commit(*user_ids: UserId) -> None:
    """Writes down that these users want to see other people than before, and tells Redis on commit."""
    noted = outbox.note_relation(*user_ids)

    def tell() -> None:
        at = receipts.where()
        relations.changed(*user_ids)
        outbox.settled(noted, at)

    database.on_commit(partial(in_redis, user_ids, tell))


def in_redis(user_ids: UserId | tuple[UserId, ...], change: Callable[[], None]) -> None:
    """Applies a committed change. If Redis is away, logs that and returns: the outbox has the change."""
    try:
        change()
    except FeedError as error:
        logger.error("a change of the relations of user %s waits in the outbox: %s", user_ids, error)
