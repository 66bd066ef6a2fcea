"""What Redis holds of one user's feed, at one moment and in one round trip."""

from __future__ import annotations

import math
import secrets
import time
from dataclasses import dataclass
from typing import Any

from ..conf import conf
from ..exceptions import FeedError
from ..models import UserId
from ..photos import visibility
from . import keys
from .delivery.limits import PULLED_SECONDS
from .feeds_redis import client, edge, store


@dataclass(frozen=True)
class Snapshot:
    """The user's keys at one moment. `floor` None: the list says nothing."""

    ids: list[int]
    floor: int | None
    relations: str | None
    likes: str | None
    pulled: bool


NOTHING_KNOWN = Snapshot([], None, None, None, pulled=False)


def read(user_id: UserId) -> Snapshot:
    """The user's keys now; two round trips if what is cached for them has to be given names first.

    Prolongs the life of a feed under `INACTIVE_AFTER`. Raises `FeedsUnavailable`, `FeedsRefused`.
    """
    names = [keys.floor(user_id), keys.relations(user_id), keys.likes(user_id)]
    is_cluster = store().is_cluster
    if not is_cluster:
        names.append(keys.pulled())
    commands: list[tuple[Any, ...]] = [("LRANGE", keys.homefeed(user_id), 0, -1), ("MGET", *names)]
    if conf.INACTIVE_AFTER is not None:
        commands += [("EXPIRE", name, conf.INACTIVE_AFTER) for name in (keys.homefeed(user_id), names[0])]
    with edge():
        # At one moment: a list from before a rebuild with the floor from after it has holes.
        listed, (floor, relations, likes, *pulled) = store().transaction(*commands)[:2]
        if relations is None or likes is None:
            relations, likes = _stand_for(user_id)
    ids = _ids(listed)
    known = bool(ids) and isinstance(floor, bytes) and floor.isdigit()
    return Snapshot(
        ids=ids,
        floor=int(floor) if known else None,
        relations=_text(relations),
        likes=_text(likes),
        pulled=conf.PULL_ABOVE is not None or (_are_any_pulled() if is_cluster else pulled != [None]),
    )


class _Pulled:
    """What a process knows of `keys.pulled()` in a cluster, where it lies on a node of its own."""

    def __init__(self) -> None:
        self.are_any = True
        self.asked_at = -math.inf


_pulled = _Pulled()


def _are_any_pulled() -> bool:
    """Whether readers have to look in SQL for photos that were not pushed; asked once a second. Yes while the
    node does not answer."""
    now = time.monotonic()
    if now - _pulled.asked_at >= PULLED_SECONDS:
        try:
            with edge():
                _pulled.are_any = bool(client().exists(keys.pulled()))
        except FeedError:
            _pulled.are_any = True
        _pulled.asked_at = now
    return _pulled.are_any


def _ids(listed: Any) -> list[int]:
    """The photo ids in a list, newest first, each once; without what is no id."""
    if not isinstance(listed, list):
        return []
    try:
        ids = set(map(int, listed))
    except ValueError:
        ids = {int(entry) for entry in listed if entry.isdigit()}
    sorted_ids = sorted(ids, reverse=True)
    if sorted_ids and (sorted_ids[0] > visibility.EVERYTHING or sorted_ids[-1] < 0):
        return [id_ for id_ in sorted_ids if 0 <= id_ <= visibility.EVERYTHING]
    return sorted_ids


def _stand_for(user_id: UserId) -> tuple[bytes, bytes]:
    """New names for what the user's relations and likes are now."""
    pipeline = client().pipeline(transaction=True)
    for name in (keys.relations(user_id), keys.likes(user_id)):
        pipeline.set(name, secrets.token_hex(8), nx=True, ex=conf.CACHE_SECONDS * 24)
    for name in (keys.relations(user_id), keys.likes(user_id)):
        pipeline.get(name)
    return tuple(pipeline.execute()[2:])


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else None
