"""The feeds' Redis and the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import ProgrammingError, router
from django.db.models import Max

from ..connections import patience
from ..exceptions import DATABASE_AWAY, FeedError
from ..homefeed import old_keys
from ..homefeed.delivery import LARGEST_ID
from ..homefeed.feeds_redis import eviction_policy
from ..models import get_photo_model

Answer = TypeVar("Answer")
PATIENCE = 0.8  # seconds
PAGES = 10  # of a thousand keys each


@register("mydjangoapp")
def redis_does_not_evict(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """W001: under memory pressure Redis would throw feeds and follower lists away.

    Says nothing if Redis cannot be asked: `/readyz/` reports that, and a migration must not wait for it.
    """
    policy = asked(eviction_policy)
    if policy in (None, "noeviction"):
        return []
    return [
        Warning(
            f"The feeds' Redis has maxmemory-policy {policy}: it may drop feeds and follower lists.",
            hint="CONFIG SET maxmemory-policy noeviction, and keep caches in another Redis.",
            id="mydjangoapp.W001",
        )
    ]


@register("mydjangoapp")
def keys_are_of_this_version(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """W010: the feeds' Redis has keys of an earlier version, which this one does not see. Looks at some ten
    thousand keys; says nothing if Redis cannot be asked."""
    found = asked(lambda: old_keys.find(PAGES))
    if found is None:
        return []
    return [
        Warning(
            f"The feeds' Redis has keys of an earlier version, such as {found.name}: without them those who "
            "have unfollowed an author get their photos, and deliveries under way begin again.",
            hint="Stop web and workers, run `manage.py migrate_keys`, and start them again.",
            id="mydjangoapp.W010",
        )
    ]


def asked(question: Callable[[], Answer]) -> Answer | None:
    """The answer of Redis, None if it has none within a second."""
    try:
        with patience.bounded_by(patience.Patience(PATIENCE)):
            return question()
    except FeedError:
        return None


@register(Tags.database)
def photo_ids_are_exact(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """E004: a photo has an id that Redis's scripts cannot count with. Part of `migrate` and of
    `check --database default`."""
    photo_model = get_photo_model()
    alias = router.db_for_write(photo_model)
    if alias not in (databases or ()):
        return []
    try:
        highest = photo_model._default_manager.using(alias).aggregate(highest=Max("id"))["highest"]
    except (*DATABASE_AWAY, ProgrammingError):  # also before the first migration
        return []
    if highest is None or highest <= LARGEST_ID:
        return []
    return [
        Error(
            f"Photo {highest} has an id above {LARGEST_ID}, the largest that feeds can hold.",
            hint="Let ids grow from below, one by one: time-based 64-bit ids do not fit.",
            id="mydjangoapp.E004",
        )
    ]
