"""Who follows, mutes and blocks whom: one transaction, then the follower list."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.db.models import F, Q, QuerySet
from more_itertools import batched

from . import domain_events, outbox
from .conf import conf
from .connections import database
from .exceptions import Blocked, FeedError
from .homefeed import followers, relations
from .homefeed.followers import Change
from .models import Block, Follow, GraphChange, Like, Mute, PastFollow, Photo

logger = logging.getLogger(__name__)

ROWS_PER_TRANSACTION = 1_000


def follow(follower: Any, followee: Any) -> bool:
    """Makes `follower` follow `followee` (users or ids); False if they did already.

    Raises `ValueError` for oneself, `Blocked` if one of the two blocks the other, and `IntegrityError`
    for users that are not there. Of a follow and a block at the same time one sees the other.
    """
    follower, followee = _two(follower, followee, "follow")
    with database.atomic():
        _lock_to_follow([follower], followee)
        if blocks(follower, followee):
            raise Blocked("One of the two blocks the other: unblock first, or leave it.")
        database.primary(PastFollow).filter(follower=follower, followee=followee).delete()
        row, made = Follow.objects.get_or_create(follower_id=follower, followee_id=followee)
        if made:
            domain_events.users_followed([follower], followee)
        # Brought in also if the row was there before: it may not have reached Redis then.
        _on_commit(followee, [Change("follow", follower, row.pk)], then=_build_if_small)
    return made


def unfollow(follower: Any, followee: Any) -> bool:
    """Ends it; False if `follower` did not follow `followee`. O(1) in Redis.

    With `ON_UNFOLLOW = "keep"` the photos there are stay in the feed, and new ones do not come.
    """
    follower, followee = _id(follower), _id(followee)
    with database.atomic():
        row = _end(follower, followee)
        if row and conf.ON_UNFOLLOW == "keep":
            newest = (
                database.primary(Photo)
                .filter(user=followee)
                .order_by("-id")
                .values_list("id", flat=True)
                .first()
            )
            PastFollow.objects.update_or_create(
                follower_id=follower, followee_id=followee, defaults={"upto": newest or 0}
            )
    return row


def _end(follower: Any, followee: Any) -> bool:
    row = (
        database.primary(Follow)
        .select_for_update()
        .filter(follower_id=follower, followee_id=followee)
        .first()
    )
    if row is None:
        return False
    change = Change("unfollow", follower, row.pk)
    row.delete()
    domain_events.users_unfollowed([(follower, followee)])
    # Also where photos are kept: one of them may be under way, and its chain leaves the user out from now on.
    _on_commit(followee, [change], then=partial(_drop_feed, follower))
    return True


def _drop_feed(follower: Any, followee: Any) -> None:
    relations.drop_feeds(follower)


def _drop_feed_now(follower: Any) -> None:
    _in_redis(follower, partial(relations.drop_feeds, follower))


def mute(muter: Any, muted: Any) -> bool:
    """Takes the photos of `muted` out of `muter`'s feed; False if they were. Following goes on.

    Raises `ValueError` for oneself and `IntegrityError` for users that are not there.
    """
    muter, muted = _two(muter, muted, "mute")
    with database.atomic():
        _, made = Mute.objects.get_or_create(muter_id=muter, muted_id=muted)
        _tell_readers(muter)
    return made


def unmute(muter: Any, muted: Any) -> bool:
    """Brings them back to their places; False if they were not muted."""
    muter, muted = _id(muter), _id(muted)
    with database.atomic():
        gone, _ = database.primary(Mute).filter(muter=muter, muted=muted).delete()
        _tell_readers(muter)
    return bool(gone)


def block(blocker: Any, blocked: Any) -> bool:
    """Ends following both ways, and neither can follow the other again; False if it was so.

    Raises `ValueError` for oneself and `IntegrityError` for users that are not there.
    """
    blocker, blocked = _two(blocker, blocked, "block")
    with database.atomic():
        database.lock(_users().filter(pk__in=(blocker, blocked)))
        _, made = Block.objects.get_or_create(blocker_id=blocker, blocked_id=blocked)
        for follower, followee in ((blocker, blocked), (blocked, blocker)):
            _end(follower, followee)
            kept, _ = database.primary(PastFollow).filter(follower=follower, followee=followee).delete()
            if kept:
                database.on_commit(partial(_drop_feed_now, follower))
        _tell_readers(blocker, blocked)
    return made


def unblock(blocker: Any, blocked: Any) -> bool:
    """Ends it; who followed does not follow again by that. False if they were not blocked."""
    blocker, blocked = _id(blocker), _id(blocked)
    with database.atomic():
        gone, _ = database.primary(Block).filter(blocker=blocker, blocked=blocked).delete()
        _tell_readers(blocker, blocked)
    return bool(gone)


def _users() -> QuerySet[Any]:
    return get_user_model()._base_manager.using(database.writer())


def _lock_to_follow(followers_: Iterable[Any], followee: Any) -> None:
    """Keeps blocks between these users out until the transaction ends.

    A block locks both users, so the followers' rows are enough. The followee's stays free, or all who follow
    a celebrity would wait for each other - unless writing the `Follow` row would wait for it anyway.
    """
    users = set(followers_)
    if not database.locks_leave_references_alone():
        users.add(followee)
    database.lock(_users().filter(pk__in=users))


def blocks(one: Any, other: Any) -> bool:
    """Whether one of the two blocks the other."""
    return (
        database.primary(Block).filter(Q(blocker=one, blocked=other) | Q(blocker=other, blocked=one)).exists()
    )


def _two(user: Any, other: Any, verb: str) -> tuple[Any, Any]:
    user, other = _id(user), _id(other)
    if user == other:
        raise ValueError(f"You cannot {verb} yourself.")
    return user, other


def _tell_readers(*users: Any) -> None:
    noted = outbox.note_relation(*users)

    def tell() -> None:
        relations.changed(*users)
        outbox.settled(noted)

    database.on_commit(lambda: _in_redis(users, tell))


def follow_many(followers_: Iterable[Any], followee: Any) -> int:
    """Makes many users follow one, for imports; returns how many did not before.

    1,000 rows a transaction, so that an import that is interrupted keeps what it has; it may be
    repeated. Oneself among them, and who blocks or is blocked, is left out.
    """
    followee = _id(followee)
    made = 0
    for some in batched(followers_, ROWS_PER_TRANSACTION):
        ids = dict.fromkeys(_id(user) for user in some)
        ids.pop(followee, None)
        made += _follow_at_once(list(ids), followee)
    database.on_commit(lambda: _tidy(followee))
    return made


def _follow_at_once(ids: list[Any], followee: Any) -> int:
    try:
        with database.atomic():
            _lock_to_follow(ids, followee)
            db = database.writer()
            known = set(
                Follow.objects.using(db)
                .filter(followee_id=followee, follower_id__in=ids)
                .values_list("follower_id", flat=True)
            )
            blocked = Block.objects.using(db).filter(blocker=followee, blocked__in=ids)
            blocking = Block.objects.using(db).filter(blocked=followee, blocker__in=ids)
            known.update(blocked.values_list("blocked_id", flat=True))
            known.update(blocking.values_list("blocker_id", flat=True))
            database.primary(PastFollow).filter(followee=followee, follower__in=set(ids) - known).delete()
            made = Follow.objects.bulk_create(
                [Follow(follower_id=user, followee_id=followee) for user in ids if user not in known]
            )
            domain_events.users_followed([row.follower_id for row in made], followee)
            _on_commit(followee, [Change("follow", row.follower_id, row.pk) for row in made])
    except IntegrityError:
        if len(ids) == 1:
            raise
        # One of them made the same follow in this moment, or is not there: find out which.
        return sum(_follow_unless_blocked(user, followee) for user in ids)
    return len(made)


def _follow_unless_blocked(user: Any, followee: Any) -> bool:
    try:
        return follow(user, followee)
    except Blocked:
        return False


def user_is_deleted(sender: Any, instance: Any, **_: Any) -> None:
    """Takes a user who is deleted out of the lists of those they followed, and drops their own keys."""
    user = instance.pk
    liked = list(database.primary(Like).filter(user=user).values_list("photo_id", flat=True))
    for some in batched(liked, ROWS_PER_TRANSACTION):
        database.primary(Photo).filter(id__in=some, like_count__gt=0).update(like_count=F("like_count") - 1)
        outbox.photos_changed(*some)
    _announce_the_end(user)
    ended = list(database.primary(Follow).filter(follower_id=user).values_list("followee_id", "id"))
    for followee, row in ended:
        _on_commit(followee, [Change("unfollow", user, row)])
    outbox.author_changed(user)


def _announce_the_end(user: Any) -> None:
    """What ends with a user: their likes, and follows of them and by them."""
    his_likes = database.primary(Like).filter(user=user).select_related("photo").order_by("id")
    for likes_ in batched(his_likes.iterator(ROWS_PER_TRANSACTION), ROWS_PER_TRANSACTION):
        domain_events.photos_unliked(likes_)
    follows = database.primary(Follow).filter(Q(follower=user) | Q(followee=user)).order_by("id")
    pairs = follows.values_list("follower_id", "followee_id").iterator(ROWS_PER_TRANSACTION)
    for some in batched(pairs, ROWS_PER_TRANSACTION):
        domain_events.users_unfollowed(some)


def user_is_saved(sender: Any, instance: Any, raw: bool, update_fields: Any = None, **_: Any) -> None:
    """Writes down that a user may get a new name. Before they are saved, because Django saves them without a
    transaction where the site has opened none: a row too many does no harm, one too few would."""
    is_log_in = update_fields is not None and set(update_fields) <= {"last_login"}
    if not instance._state.adding and not raw and not is_log_in:
        instance._feeds_changes = outbox.write([GraphChange(verb="author", follower_id=instance.pk)])


def user_was_saved(sender: Any, instance: Any, **_: Any) -> None:
    """Shows a new name at once."""
    if changes := instance.__dict__.pop("_feeds_changes", None):
        database.on_commit(partial(outbox.bring_in, changes))


def _on_commit(followee: Any, changes: list[Change], then: Callable[[Any], None] | None = None) -> None:
    noted = outbox.note(followee, changes)

    def bring_in() -> None:
        followers.apply(followee, changes)
        if then:
            then(followee)
        outbox.settled(noted)

    database.on_commit(lambda: _in_redis(followee, bring_in))


def _build_if_small(followee: Any) -> None:
    """Makes a list that is missing, unless it is a large one: that waits for its first fan-out."""
    if followers.exist(followee):
        return
    if (
        database.primary(Follow).filter(followee_id=followee)[: conf.BATCH_SIZE + 1].count()
        <= conf.BATCH_SIZE
    ):
        followers.ensure(followee)


def _tidy(followee: Any) -> None:
    """After an import: the list exists, and the import's marks do not stay."""

    def tidy() -> None:
        followers.ensure(followee)
        if followers.compaction_is_due(followee):
            followers.compact(followee)

    _in_redis(followee, tidy)


def _in_redis(user: Any, change: Callable[[], None]) -> None:
    """SQL has committed; if Redis does not follow now, say so and go on: the outbox has it."""
    try:
        change()
    except FeedError as error:
        logger.error("a change of the relations of user %s waits in the outbox: %s", user, error)


def _id(user: Any) -> Any:
    """The id of a user, of the type that the site's users have: `"7"` and `7` are the same user."""
    if hasattr(user, "pk"):
        return user.pk
    try:
        return get_user_model()._meta.pk.to_python(user)
    except ValidationError as error:
        raise ValueError(f"{user!r} is not the id of a user.") from error
