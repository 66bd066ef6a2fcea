"""Following and unfollowing."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.utils.translation import gettext as _

from .. import domain_events
from ..conf import conf
from ..connections import database
from ..exceptions import Blocked
from ..homefeed import followers, relations
from ..homefeed.followers import Change
from ..models import Follow, PastFollow, UserId, author_is, get_photo_model
from .commits import bring_in_on_commit
from .ids import id_of, two_ids
from .locks import blocks, lock_to_follow


def follow(follower: Any, followee: Any, *, announce: bool = True) -> bool:
    """Makes `follower` follow `followee`; returns False if they already did.

    `announce=False` publishes no `user.followed`. Raises `ValueError` if both are the same user, `Blocked`
    if one of the two blocks the other, and `IntegrityError` for a user that does not exist. A follow and a
    block at the same time see each other.
    """
    follower_id, followee_id = two_ids(follower, followee, _("You cannot follow yourself."))
    with database.atomic():
        lock_to_follow([follower_id], followee_id)
        if blocks(follower_id, followee_id):
            raise Blocked(_("One of the two users blocks the other. Unblock first."))
        database.primary(PastFollow).filter(follower=follower_id, followee=followee_id).delete()
        row, made = Follow.objects.get_or_create(follower_id=follower_id, followee_id=followee_id)
        if made and announce:
            domain_events.users_followed([(follower_id, followee_id)])
        # Also if the row was there before: it may not have reached Redis then.
        bring_in_on_commit(followee_id, [Change("follow", follower_id, row.pk)], then=_build_if_small)
    return made


def unfollow(follower: Any, followee: Any) -> bool:
    """Ends it; returns False if `follower` did not follow `followee`. O(1) in Redis.

    With `ON_UNFOLLOW = "keep"` the photos that are in the feed stay there; new ones do not arrive.
    """
    follower_id, followee_id = id_of(follower), id_of(followee)
    with database.atomic():
        ended = end_follow(follower_id, followee_id)
        if ended and conf.ON_UNFOLLOW == "keep":
            photo_ids = database.primary(get_photo_model()).filter(author_is(followee_id)).order_by("-id")
            newest = photo_ids.values_list("id", flat=True).first()
            PastFollow.objects.update_or_create(
                follower_id=follower_id, followee_id=followee_id, defaults={"upto": newest or 0}
            )
    return ended


def end_follow(follower_id: UserId, followee_id: UserId) -> bool:
    """Deletes the row in the open transaction, and takes the follower out of the list on commit.

    Returns False if there was no such row.
    """
    rows = database.primary(Follow).select_for_update()
    row = rows.filter(follower_id=follower_id, followee_id=followee_id).first()
    if row is None:
        return False
    change = Change("unfollow", follower_id, row.pk)
    row.delete()
    domain_events.users_unfollowed([(follower_id, followee_id)])
    # Also where photos are kept: a fan-out under way leaves the user out from now on, so the kept photo
    # that it carries has to come from SQL.
    bring_in_on_commit(followee_id, [change], then=partial(_drop_feed, follower_id))
    return True


def _drop_feed(follower_id: UserId, followee_id: UserId) -> None:
    relations.drop_feeds(follower_id)


def _build_if_small(followee_id: UserId) -> None:
    """Builds a follower list that is missing, unless it is long: a long one waits for its first fan-out."""
    if followers.exist(followee_id):
        return
    rows = database.primary(Follow).filter(followee_id=followee_id)
    if rows[: conf.BATCH_SIZE + 1].count() <= conf.BATCH_SIZE:
        followers.ensure(followee_id)
