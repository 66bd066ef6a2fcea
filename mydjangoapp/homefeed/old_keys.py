"""Keys by the names that private ones had before they lay in the slot of a public one (`floor:1990`), and
moving a Redis over to those of today (`keys.py`).

Lists stay what they are. What a list cannot do without is renamed: marks, states, and fan-outs under way.
Floors go, so each feed is built from SQL at its next read: a floor says that the list under it is complete,
and a process of this version that ran before the move may have trimmed that list without it. Names of readers
and of builds (`token`, `relations`, `likes`, `homefeed-build`, `followers-seen`) live for a limited time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from ..conf import conf
from ..connections import database
from ..models import UserId, author_column, get_photo_model
from . import followers, keys
from .delivery.limits import BUILT_SECONDS
from .feeds_redis import client, edge, store

KEYS_PER_CALL = 1_000  # SCAN looks at so many in under a millisecond
ENDED_PER_CALL = 500

_OF_LIST: dict[str, Callable[[UserId], str]] = {
    "followers-marks": keys.marks,
    "followers-state": keys.state,
    "fanouts": keys.running,
}
_ABANDONED: dict[str, Callable[[UserId], str]] = {
    "followers-rewrite": keys.rewrite,
    "followers-next": keys.next_followers,
    "followers-next-marks": keys.next_marks,
    "floor": keys.floor,
}
_OF_CIRCLES = ("circle-complete", "photos-complete")  # without them a worker builds from SQL
_OF_FANOUT = {"fanout": keys.fanout, "fanout-built": keys.built}
_OF_USER = _OF_LIST | _ABANDONED


class OldKey(NamedTuple):
    """A key of the old layout: its word, and the id of a user or photo behind it."""

    name: str
    word: str
    of: str


@dataclass
class Report:
    """`moved`: keys that have their new names. `dropped`: keys that nobody needs any more. `lists`: authors
    whose lists are to be built anew, because both layouts had something of them."""

    moved: int = 0
    dropped: int = 0
    lists: set[str] = field(default_factory=set)


def read(name: bytes) -> OldKey | None:
    """What an old key says; None for every other key."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return None
    word, colon, of = text.removeprefix(conf.KEY_PREFIX).partition(":")
    if not colon or not text.startswith(conf.KEY_PREFIX):
        return None
    if word in _OF_FANOUT:
        return OldKey(text, word, of) if of.isdecimal() else None
    if word in _OF_CIRCLES:
        return None if "{" in of else OldKey(text, word, of)
    make = _OF_USER.get(word)
    return None if make is None or _makes(make, text) else OldKey(text, word, of)


def _makes(make: Callable[[UserId], str], name: str) -> bool:
    """Whether the function makes this key for any user: then it is of today's layout."""
    for public in (keys.followers(""), keys.homefeed("")):
        _, found, user = name.partition(public)
        if found and name in (make(user), make(user.removesuffix("}"))):
            return True
    return False


def find(pages: int) -> OldKey | None:
    """An old key, if there is one among the first so many thousand keys of the server. Earlier versions knew
    no cluster."""
    if store().is_cluster:
        return None
    for names in islice(_pages(), pages):
        for name in names:
            if key := read(name):
                return key
    return None


def move_all(progress: Callable[[int, int], None]) -> Report:
    """Moves all old keys over; tells after each thousand how many it has looked at, and of how many.

    May be repeated, broken off at any point, and run beside processes of this version; not beside older ones.
    A millisecond of Redis at a time. Raises `FeedsUnavailable`, `FeedsRefused`.
    """
    _name_authors_of_ended()
    report, looked_at = Report(), 0
    for names in _pages():
        move(names, report)
        looked_at += len(names)
        with edge():
            progress(looked_at, int(client().dbsize()))
    progress(looked_at, looked_at)
    return report


def _pages() -> Iterator[list[bytes]]:
    """All keys that begin with `KEY_PREFIX`, a page at a time; one may come twice."""
    cursor = None
    while cursor != 0:
        with edge():
            reply: Any = client().scan(cursor or 0, match=f"{conf.KEY_PREFIX}*", count=KEYS_PER_CALL)
        cursor, names = reply
        yield names


def _name_authors_of_ended() -> None:
    """Of fan-outs that have ended and are not settled. Before the rest: one whose photo is gone names its
    author only in its old key."""
    cursor = None
    while cursor != 0:
        with edge():
            reply: Any = client().zscan(keys.ended(), cursor or 0, count=ENDED_PER_CALL)
        cursor, members = reply
        old = [(member.decode(), at) for member, at in members if member.isdigit()]
        if not old:
            continue
        authors = _authors([photo for photo, _ in old])
        commands: list[tuple[Any, ...]] = [
            ("ZADD", keys.ended(), at, f"{photo}:{authors[photo]}") for photo, at in old if photo in authors
        ]
        commands.append(("ZREM", keys.ended(), *(photo for photo, _ in old)))
        with edge():
            store().transaction(*commands)


def move(names: Iterable[bytes], report: Report) -> None:
    """Moves those of these keys that are old, and adds to the report. See `move_all`."""
    old = [key for name in names if (key := read(name))]
    abandoned = [key.name for key in old if key.word in _ABANDONED or key.word in _OF_CIRCLES]
    to_rename = [(key, _OF_LIST[key.word](key.of)) for key in old if key.word in _OF_LIST]
    authors = _authors([key.of for key in old if key.word in _OF_FANOUT])
    for key in old:
        if key.word in _OF_FANOUT and key.of in authors:
            to_rename.append((key, _OF_FANOUT[key.word](authors[key.of], int(key.of))))
        elif key.word in _OF_FANOUT:
            abandoned.append(key.name)  # nobody can go on with it
    _settle_conflicts(_rename(to_rename, report), report)
    if abandoned:
        with edge():
            report.dropped += int(client().unlink(*abandoned))


def _rename(to_rename: Sequence[tuple[OldKey, str]], report: Report) -> list[tuple[OldKey, str]]:
    """Renames; returns those whose new names are taken."""
    if not to_rename:
        return []
    with edge():
        pipeline = client().pipeline(transaction=False)
        for key, name in to_rename:
            pipeline.renamenx(key.name, name)
        # An error: it has been moved meanwhile, or its time was over.
        replies = pipeline.execute(raise_on_error=False)
    report.moved += sum(reply is True for reply in replies)
    return [pair for pair, reply in zip(to_rename, replies, strict=True) if reply is False]


def _settle_conflicts(taken: Sequence[tuple[OldKey, str]], report: Report) -> None:
    """Where a process of this version was at work before the move: SQL knows better than either layout."""
    authors = {key.of for key, _ in taken if key.word in _OF_LIST}
    if authors:
        followers.drop(authors)
        report.lists |= authors
    commands: list[tuple[Any, ...]] = []
    for key, name in taken:
        if key.word == "fanout-built":
            commands += [("SUNIONSTORE", name, name, key.name), ("EXPIRE", name, BUILT_SECONDS)]
        commands.append(("UNLINK", key.name))
    if commands:
        with edge():
            store().transaction(*commands)
        report.dropped += len(taken)


def _authors(photos: Sequence[str]) -> dict[str, str]:
    """The authors of these photos' fan-outs: as SQL has them, or the fan-out's own old key."""
    if not photos:
        return {}
    found = database.primary(get_photo_model()).filter(id__in=set(map(int, photos)))
    authors = {str(photo): str(author) for photo, author in found.values_list("id", author_column())}
    left = [photo for photo in photos if photo not in authors]
    if left:
        with edge():
            pipeline = client().pipeline(transaction=False)
            for photo in left:
                pipeline.hget(f"{conf.KEY_PREFIX}fanout:{photo}", "author")
            names = pipeline.execute(raise_on_error=False)
        authors |= {
            photo: name.decode() for photo, name in zip(left, names, strict=True) if isinstance(name, bytes)
        }
    return authors
