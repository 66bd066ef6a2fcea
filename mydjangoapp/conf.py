"""Every setting of the app: name, type, default, unit and the reason for it.

A host site sets them in one dict::

    MYDJANGOAPP = {"REDIS_URL": "redis://feeds.internal:6379/0", "BATCH_SIZE": 5_000}

Nothing is cached: a value is looked up, and checked, at the moment it is used, so tests and
`override_settings` see their change at once. `manage.py check` reports every wrong one beforehand
(see `checks.py`). The table in the README is made from this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, overload
from urllib.parse import urlsplit

from django.conf import settings as django_settings

from .exceptions import BadSetting

T = TypeVar("T")

DICT_NAME = "MYDJANGOAPP"
EVENTS_SCHEMES = ("redis", "rediss", "unix", "nsq", "nsq+lookupd")
OWN_NAMES = ("REDIS_URL", "EVENTS_URL")  # environment variables that count without the prefix, too
_RATE = re.compile(r"^\d+/(s|sec|second|m|min|minute|h|hour|d|day)$")


class Setting(Generic[T]):
    """One setting; reading it off `conf` gives the checked value."""

    name: str

    def __init__(
        self,
        default: T,
        *,
        unit: str,
        why: str,
        parse: Callable[[str], T],
        problem: Callable[[Any], str | None],
    ) -> None:
        self.default = default
        self.unit = unit
        self.why = why
        self.parse = parse
        self.problem = problem

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: Conf, owner: type) -> T: ...
    def __get__(self, instance: Conf | None, owner: type) -> Setting[T] | T:
        if instance is None:
            return self
        value = configured().get(self.name, self.default)
        if problem := self.problem(value):
            raise BadSetting(self.name, problem)
        return value  # type: ignore[no-any-return]  # its type is what `problem` has just checked


def _number(default: int, *, unit: str, why: str, least: int = 1, most: int = 10**12) -> Setting[int]:
    def problem(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"must be a whole number of {unit}, not {value!r}"
        if not least <= value <= most:
            return f"must be between {least:,} and {most:,} {unit}, not {value:,}"
        return None

    return Setting(default, unit=unit, why=why, parse=int, problem=problem)


def _number_or_none(*, unit: str, why: str, least: int = 1) -> Setting[int | None]:
    def problem(value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            return f"must be None or a whole number of {unit} from {least} on, not {value!r}"
        return None

    def parse(text: str) -> int | None:
        return int(text) if text else None

    return Setting(None, unit=unit, why=why, parse=parse, problem=problem)


def _seconds(default: float, *, why: str) -> Setting[float]:
    def problem(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10**6:
            return f"must be a number of seconds above 0, not {value!r}"
        return None

    return Setting(default, unit="seconds", why=why, parse=float, problem=problem)


def _redis_problem(value: Any) -> str | None:
    if not isinstance(value, str) or urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
        return "must be a URL that starts with redis://, rediss:// or unix://"
    return None


def _prefix_problem(value: Any) -> str | None:
    if not isinstance(value, str) or any(c.isspace() or c in "{}*?[]" for c in value):
        return f"must be a string without spaces, braces or wildcards, not {value!r}"
    return None


def _on_unfollow_problem(value: Any) -> str | None:
    return None if value in ("hide", "keep") else f"must be 'hide' or 'keep', not {value!r}"


def _rate_problem(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not _RATE.match(value)):
        return f"must look like '120/min' (or be None for no limit), not {value!r}"
    return None


def _events_problem(value: Any) -> str | None:
    if value is None or value == "off":
        return None
    if not isinstance(value, str) or urlsplit(value).scheme not in EVENTS_SCHEMES:
        return f"must be 'off' or a URL that starts with {', '.join(f'{s}://' for s in EVENTS_SCHEMES)}"
    return None


def _events_topics_problem(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return f"must be a dict of topic and URL, not {value!r}"
    for topic, url in value.items():
        if problem := _events_problem(url):
            return f"topic {topic!r} {problem}"
    return None


def _parse_topics(text: str) -> Mapping[str, str]:
    pairs = [pair.partition("=") for pair in text.split()]
    if not all(topic and url for topic, _, url in pairs):
        raise ValueError
    return {topic: url for topic, _, url in pairs}


class Conf:
    """The settings as attributes: `conf.BATCH_SIZE`."""

    REDIS_URL = Setting(
        "redis://127.0.0.1:6379/0",
        unit="URL",
        why="the Redis that holds the feeds; keep it apart from caches, it must not evict",
        parse=str,
        problem=_redis_problem,
    )
    KEY_PREFIX = Setting(
        "",
        unit="text",
        why="put before every key the app makes, for a Redis shared with others",
        parse=str,
        problem=_prefix_problem,
    )
    BATCH_SIZE = _number(
        10_000,
        unit="followers",
        most=1_000_000,
        why="how many followers one task run serves; small enough that other uploads get their turn",
    )
    SLICE_SIZE = _number(
        200,
        unit="followers",
        most=5_000,
        why="how many followers one atomic script call serves; it holds Redis for about 0.3 ms. "
        "Smaller: others wait less and the chain is slower",
    )
    SLICES_IN_FLIGHT = _number(
        2,
        unit="slices",
        most=16,
        why="script calls a task keeps open at once, so that Redis never waits for Python",
    )
    MAX_LENGTH = _number(
        800,
        unit="ids",
        most=100_000,
        why="photo ids kept in a home-feed list; older ones are read from SQL",
    )
    INACTIVE_AFTER = _number_or_none(
        unit="seconds",
        why="home feeds that nobody has read for this long expire and are not pushed to, until their owner "
        "returns; None keeps all",
    )
    PULL_ABOVE = _number_or_none(
        unit="followers",
        least=0,
        why="photos of authors with more followers are not pushed but merged at each read; None pushes all",
    )
    ON_UNFOLLOW = Setting(
        "hide",
        unit="hide, keep",
        why="whether an unfollow takes the photos that were there already out of the feed; "
        "run rebuild_homefeeds after changing it",
        parse=str,
        problem=_on_unfollow_problem,
    )
    COLLAPSE_AUTHOR_AFTER = _number_or_none(
        unit="photos",
        why="more photos than this in a row by one author are shown as one, with a count; None shows all",
    )
    CACHE_SECONDS = _number(
        3_600,
        unit="seconds",
        most=10**7,
        why="how long photos, authors and relations stay in Django's cache; changes are seen at once anyway",
    )
    LEASE_SECONDS = _seconds(
        30.0,
        why="a fan-out that stood still for this long has lost its worker and may be taken over",
    )
    SETTLE_SECONDS = _seconds(
        3.0,
        why="what Redis has held for so long its crash does not take back (appendfsync everysec may lose two "
        "seconds): only then is a fan-out `done`, and a change of the graph or an event forgotten",
    )
    MAX_ATTEMPTS = _number(
        10,
        unit="attempts",
        most=10_000,
        why="starts of a fan-out without any progress before it is given up as failed",
    )
    REDIS_TIMEOUT = _seconds(
        2.0,
        why="how long a single Redis command may take before it counts as failed and is repeated",
    )
    PUBLISH_TIMEOUT = _seconds(
        0.8,
        why="how long a request waits for the broker to take a message, and all steps of a commit together "
        "for servers that are slow; rescue and outbox do what was not done",
    )
    COMPACT_AFTER = _number(
        1_000,
        unit="changes",
        most=10_000_000,
        why="follows and unfollows since the last compaction of a follower list before the next one; "
        "at least a tenth of the list's length",
    )
    KEEP_UPLOAD_KEYS = _number(
        7,
        unit="days",
        most=36_500,
        why="how long an Idempotency-Key stands for its photo; then manage.py prune deletes it",
    )
    KEEP_FANOUTS = _number(
        90,
        unit="days",
        most=36_500,
        why="how long the ledger knows a fan-out that has ended; a later message still does nothing",
    )
    EVENTS_URL: Setting[str | None] = Setting(
        None,
        unit="URL",
        why="what carries events (topics and channels); None: database 3 of the feeds' Redis server, "
        "'off': nothing is published",
        parse=lambda text: text or None,
        problem=_events_problem,
    )
    EVENTS_TOPICS: Setting[Mapping[str, str]] = Setting(
        {},
        unit="topic: URL",
        why="topics that something else carries; in the environment `photos=redis://… graph=off`",
        parse=_parse_topics,
        problem=_events_topics_problem,
    )
    EVENTS_TIMEOUT = _seconds(
        30.0,
        why="a message that was taken and not finished for so long is given to another worker",
    )
    EVENTS_MAX_ATTEMPTS = _number(
        5,
        unit="attempts",
        most=60_000,
        why="deliveries of a message to one channel before it goes to its dead letters",
    )
    EVENTS_BACKOFF_MAX = _seconds(
        60.0,
        why="longest pause before a failed message comes again; it begins with 1 s and doubles",
    )
    EVENTS_REMEMBER = _number(
        3_600,
        unit="seconds",
        why="how long the ids of finished messages are remembered, so that none is handled twice; about "
        "130 bytes each",
    )
    EVENTS_KEEP = _number(
        100_000,
        unit="messages",
        why="finished messages of a topic that are kept for channels that begin at the beginning",
    )
    EVENTS_KEEP_DEAD = _number(
        30,
        unit="days",
        most=36_500,
        why="how long dead letters are kept for replay; /readyz/ and /metrics tell of them meanwhile",
    )
    EVENTS_BEHIND = _number(
        100_000,
        unit="messages",
        why="a channel that is further behind is named in /readyz/: nobody serves it, and what waits for it "
        "fills the Redis that carries the events",
    )
    EVENTS_DRAIN = _seconds(
        10.0,
        why="how long a worker that is told to stop may take to finish what it has in hand",
    )
    UPLOAD_MAX_BYTES = _number(10 * 1024 * 1024, unit="bytes", why="largest image file that is taken")
    UPLOAD_MAX_PIXELS = _number(
        50_000_000,
        unit="pixels",
        why="largest width times height of a JPEG or PNG that is decoded; fewer where a pixel takes more "
        "memory: WebP (a quarter), CMYK (two thirds), progressive JPEG (four fifths). All images that a "
        "process decodes at once take at most 8 bytes times this: 400 MB",
    )
    UPLOAD_RATE: Setting[str | None] = Setting(
        "600/min",
        unit="rate",
        why="uploads one user may make, None for no limit",
        parse=lambda text: text or None,
        problem=_rate_problem,
    )
    CHANGE_RATE: Setting[str | None] = Setting(
        "1200/min",
        unit="rate",
        why="follows, mutes, blocks, likes and deletions one user may make, None for no limit",
        parse=lambda text: text or None,
        problem=_rate_problem,
    )
    TOKEN_RATE: Setting[str | None] = Setting(
        "30/min",
        unit="rate",
        why="attempts to log in for a token from one address (of IPv6: one /64 network), None for no limit",
        parse=lambda text: text or None,
        problem=_rate_problem,
    )
    TOKEN_NAME_RATE: Setting[str | None] = Setting(
        "30/min",
        unit="rate",
        why="attempts to log in for a token by one name, from whatever addresses, None for no limit",
        parse=lambda text: text or None,
        problem=_rate_problem,
    )


conf = Conf()


def configured() -> Mapping[str, Any]:
    """The site's own `MYDJANGOAPP` dict, empty if it has none. Raises `BadSetting` if it is no dict."""
    values = getattr(django_settings, DICT_NAME, {})
    if not isinstance(values, Mapping):
        raise BadSetting(DICT_NAME, f"must be a dict, not {type(values).__name__}")
    return values


def declared() -> Iterator[Setting[Any]]:
    """Every setting there is, in the order of this file."""
    return (value for value in vars(Conf).values() if isinstance(value, Setting))


def from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    """A `MYDJANGOAPP` dict from variables `MYDJANGOAPP_<NAME>`; `REDIS_URL` and `EVENTS_URL` by their own
    names, too.

    A value that cannot be read as its type is passed on as text, so that `manage.py check` names it.
    """
    found: dict[str, Any] = {}
    for setting in declared():
        text = environ.get(f"{DICT_NAME}_{setting.name}")
        if text is None:
            continue
        try:
            found[setting.name] = setting.parse(text)
        except ValueError:
            found[setting.name] = text
    for name in OWN_NAMES:
        if name not in found and environ.get(name):
            found[name] = environ[name]
    return found


def as_markdown() -> str:
    """The settings as the table that the README shows."""
    rows = ["| setting | default | unit | why |", "|---|---|---|---|"]
    rows += [f"| `{s.name}` | `{s.default!r}` | {s.unit} | {s.why} |" for s in declared()]
    return "\n".join(rows)
