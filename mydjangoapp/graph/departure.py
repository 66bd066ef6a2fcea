"""What ends in the graph when a user is deleted."""

from __future__ import annotations

from django.db.models import F, Q
from more_itertools import batched

from .. import domain_events, outbox
from ..connections import database
from ..homefeed.followers import Change
from ..models import Follow, Like, UserId, get_photo_model
from .commits import bring_in_on_commit

ROWS_PER_QUERY = 1_000


def user_leaves(user_id: UserId) -> None:
    """Takes a user who is about to be deleted out of the lists of the authors they followed, takes their
    likes back and drops their own keys. In the transaction that deletes them."""
    liked = list(database.primary(Like).filter(user=user_id).values_list("photo_id", flat=True))
    for photo_ids in batched(liked, ROWS_PER_QUERY):
        photos = database.primary(get_photo_model()).filter(id__in=photo_ids, like_count__gt=0)
        photos.update(like_count=F("like_count") - 1)
        outbox.photos_changed(*photo_ids)
    _announce(user_id)
    followed = database.primary(Follow).filter(follower_id=user_id).values_list("followee_id", "id")
    for followee_id, follow_id in list(followed):
        bring_in_on_commit(followee_id, [Change("unfollow", user_id, follow_id)])
    outbox.author_changed(user_id)


def _announce(user_id: UserId) -> None:
    likes = database.primary(Like).filter(user=user_id).select_related("photo").order_by("id")
    for some_likes in batched(likes.iterator(ROWS_PER_QUERY), ROWS_PER_QUERY):
        domain_events.photos_unliked(some_likes)
    follows = database.primary(Follow).filter(Q(follower=user_id) | Q(followee=user_id)).order_by("id")
    pairs = follows.values_list("follower_id", "followee_id").iterator(ROWS_PER_QUERY)
    for some_pairs in batched(pairs, ROWS_PER_QUERY):
        domain_events.users_unfollowed(some_pairs)
