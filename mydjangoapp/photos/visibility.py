"""What a home feed has to show, according to SQL: photos of the user and their followees, newest id
first, without authors whom the user mutes or blocks, or who block the user."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import BigIntegerField, Exists, OuterRef, Q, QuerySet, Value

from ..conf import conf
from ..connections import database
from ..models import (
    Block,
    Follow,
    Mute,
    PastFollow,
    UserId,
    author_column,
    author_is,
    get_photo_model,
)


def visible_to(user_id: UserId) -> QuerySet[Any]:
    """The feed itself, newest first."""
    out_of_sight = (
        author_is(Mute.objects.filter(muter=user_id).values("muted"), "in")
        | author_is(Block.objects.filter(blocker=user_id).values("blocked"), "in")
        | author_is(Block.objects.filter(blocked=user_id).values("blocker"), "in")
    )
    return carried_to(user_id).exclude(out_of_sight & ~author_is(user_id))


def carried_to(user_id: UserId) -> QuerySet[Any]:
    """What belongs into the list in Redis: the feed and, since a mute may end, the muted too."""
    followees = Follow.objects.filter(follower=user_id).values("followee")
    oneself = get_user_model()._default_manager.filter(pk=user_id).values("pk")
    # IN over a union and not OR: the planner can then go by author.
    theirs = author_is(followees.union(oneself, all=True), "in")
    if conf.ON_UNFOLLOW == "keep":
        past = PastFollow.objects.filter(
            follower=user_id, followee=OuterRef(author_column()), upto__gte=OuterRef("id")
        )
        theirs |= Q(Exists(past))
    photos: QuerySet[Any] = get_photo_model()._default_manager.filter(theirs)
    return photos.order_by("-id")


EVERYTHING = 2**63 - 1
NOTHING = 0


def seen_up_to(user_id: UserId, author_ids: Iterable[Any]) -> dict[Any, int]:
    """For each author the highest id of their photos that `user` may see in the feed. One query."""
    author_ids = list(author_ids)
    everything, nothing = Value(EVERYTHING, BigIntegerField()), Value(NOTHING, BigIntegerField())
    db = database.writer()  # what is kept of this must not come from a replica that is behind
    follows = Follow.objects.using(db).filter(follower=user_id, followee__in=author_ids)
    mutes = Mute.objects.using(db).filter(muter=user_id, muted__in=author_ids)
    blocks = Block.objects.using(db).filter(blocker=user_id, blocked__in=author_ids)
    blocked_by = Block.objects.using(db).filter(blocked=user_id, blocker__in=author_ids)
    rows = follows.values_list("followee_id", everything).union(
        mutes.values_list("muted_id", nothing),
        blocks.values_list("blocked_id", nothing),
        blocked_by.values_list("blocker_id", nothing),
        all=True,
    )
    if conf.ON_UNFOLLOW == "keep":
        past = PastFollow.objects.using(db).filter(follower=user_id, followee__in=author_ids)
        rows = rows.union(past.values_list("followee_id", "upto"), all=True)
    found: dict[Any, list[int]] = {}
    for author, upto in rows:
        found.setdefault(author, []).append(upto)
    seen = {a: NOTHING if NOTHING in (f := found.get(a, [NOTHING])) else max(f) for a in author_ids}
    return {author: EVERYTHING if author == user_id else upto for author, upto in seen.items()}


def not_blocking(photos: QuerySet[Any], user: Any) -> QuerySet[Any]:
    """Without those whose authors block `user`; staff see all."""
    if getattr(user, "is_staff", False):
        return photos
    return photos.exclude(Exists(Block.objects.filter(blocker=OuterRef(author_column()), blocked=user)))
