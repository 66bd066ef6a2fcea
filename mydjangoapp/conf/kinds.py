"""The kinds of settings: what a value may be, and how it is read from the environment."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, overload
from urllib.parse import urlsplit

from django.conf import settings as django_settings

from ..exceptions import BadSetting

T = TypeVar("T")

DICT_NAME = "MYDJANGOAPP"
EVENTS_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "nsq", "nsq+lookupd")
_RATE = re.compile(r"^\d+/(s|sec|second|m|min|minute|h|hour|d|day)$")


def configured() -> Mapping[str, Any]:
    """The site's own `MYDJANGOAPP` dict, empty if it has none. Raises `BadSetting` if it is no dict."""
    values = getattr(django_settings, DICT_NAME, {})
    if type(values) is not dict and not isinstance(values, Mapping):
        raise BadSetting(DICT_NAME, f"must be a dict, not {type(values).__name__}")
    return values


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
        self._checked: Any = object()  # the value that was found right last

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Setting[T] | T:
        if instance is None:
            return self
        value = configured().get(self.name, self.default)
        if value is self._checked:
            return value  # type: ignore[no-any-return]  # its type is what `problem` has checked
        if problem := self.problem(value):
            raise BadSetting(self.name, problem)
        if isinstance(value, str | int | float):  # not what may change while it stays the same object
            self._checked = value
        return value  # type: ignore[no-any-return]  # see above


def number(default: int, *, unit: str, why: str, least: int = 1, most: int = 10**12) -> Setting[int]:
    def problem(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"must be a whole number of {unit}, not {value!r}"
        if not least <= value <= most:
            return f"must be between {least:,} and {most:,} {unit}, not {value:,}"
        return None

    return Setting(default, unit=unit, why=why, parse=int, problem=problem)


def numbers(*default: int, unit: str, why: str, most: int) -> Setting[Sequence[int]]:
    def problem(value: Any) -> str | None:
        are_whole = isinstance(value, list | tuple) and all(type(one) is int for one in value)
        if not are_whole or not all(1 <= one <= most for one in value):
            return f"must be a list of whole numbers of {unit} from 1 to {most:,}, not {value!r}"
        return None

    def parse(text: str) -> Sequence[int]:
        return tuple(int(word) for word in text.split())

    return Setting(default, unit=unit, why=why, parse=parse, problem=problem)


def number_or_none(*, unit: str, why: str, least: int = 1) -> Setting[int | None]:
    def problem(value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            return f"must be None or a whole number of {unit} from {least} on, not {value!r}"
        return None

    def parse(text: str) -> int | None:
        return int(text) if text else None

    return Setting(None, unit=unit, why=why, parse=parse, problem=problem)


def seconds(default: float, *, why: str) -> Setting[float]:
    def problem(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10**6:
            return f"must be a number of seconds above 0, not {value!r}"
        return None

    return Setting(default, unit="seconds", why=why, parse=float, problem=problem)


class Path(Setting[str | None]):
    """The dotted path of something; `conf.imported` gives the thing itself."""


class Paths(Setting[Sequence[str] | None]):
    """Several of them, in order; for `conf.all_imported`."""


def dotted_path(*, unit: str, why: str) -> Path:
    def problem(value: Any) -> str | None:
        if value is None or _is_path(value):
            return None
        return f"must be None or a dotted path like 'shop.feeds.name', not {value!r}"

    return Path(None, unit=unit, why=why, parse=lambda text: text or None, problem=problem)


def dotted_paths(*default: str, unit: str, why: str) -> Paths:
    def problem(value: Any) -> str | None:
        if value is None or (isinstance(value, list | tuple) and all(map(_is_path, value))):
            return None
        return f"must be None or a list of dotted paths like 'shop.feeds.Name', not {value!r}"

    def parse(text: str) -> Sequence[str] | None:
        return tuple(text.split()) if text else None

    return Paths(default, unit=unit, why=why, parse=parse, problem=problem)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", value) is not None


def redis_problem(value: Any) -> str | None:
    if value == "off":
        return None
    schemes = {"redis", "rediss", "unix", "redis+cluster", "rediss+cluster"}
    if not isinstance(value, str) or urlsplit(value).scheme not in schemes:
        return "must be a URL that starts with redis://, rediss://, unix:// or redis+cluster://, or 'off'"
    return None


def prefix_problem(value: Any) -> str | None:
    if not isinstance(value, str) or any(c.isspace() or c in "{}*?[]\\" for c in value):
        return f"must be a string without spaces, braces or wildcards, not {value!r}"
    return None


def field_problem(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value.isidentifier()):
        return None
    return f"must be None or the name of a field, not {value!r}"


def on_unfollow_problem(value: Any) -> str | None:
    return None if value in ("hide", "keep") else f"must be 'hide' or 'keep', not {value!r}"


def rate_problem(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not _RATE.match(value)):
        return f"must look like '120/min' (or be None for no limit), not {value!r}"
    return None


def events_problem(value: Any) -> str | None:
    if value is None or value == "off":
        return None
    if not isinstance(value, str) or urlsplit(value).scheme not in EVENTS_SCHEMES:
        return f"must be 'off' or a URL that starts with {', '.join(f'{s}://' for s in EVENTS_SCHEMES)}"
    return None


def events_topics_problem(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return f"must be a dict of topic and URL, not {value!r}"
    for topic, url in value.items():
        if problem := events_problem(url):
            return f"topic {topic!r} {problem}"
    return None


def parse_topics(text: str) -> Mapping[str, str]:
    pairs = [pair.partition("=") for pair in text.split()]
    if not all(topic and url for topic, _, url in pairs):
        raise ValueError
    return {topic: url for topic, _, url in pairs}
