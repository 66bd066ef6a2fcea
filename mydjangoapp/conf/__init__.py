"""The app's settings, in one dict of the site::

    MYDJANGOAPP = {"REDIS_URL": "redis://feeds.internal:6379/0", "BATCH_SIZE": 5_000}

Nothing is cached: a value is looked up, and checked, at the moment it is used, so tests and
`override_settings` see their change at once. `manage.py check` reports every wrong one beforehand
(see `checks.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.module_loading import import_string

from ..exceptions import BadSetting
from .kinds import DICT_NAME, Path, Paths, Setting, configured
from .settings import Conf

__all__ = [
    "Conf",
    "all_imported",
    "as_markdown",
    "conf",
    "configured",
    "declared",
    "from_environ",
    "imported",
    "imported_any",
]

OWN_NAMES = ("REDIS_URL", "EVENTS_URL")  # environment variables that count without the prefix, too

conf = Conf()


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


def imported(name: str) -> Any:
    """What the dotted path in this setting names; None if the setting is None. Raises `BadSetting`."""
    path = getattr(conf, name)
    return None if path is None else _imported(name, path)


def all_imported(name: str) -> list[Any] | None:
    """The same for a setting of several paths."""
    paths = getattr(conf, name)
    return None if paths is None else [_imported(name, path) for path in paths]


def imported_any(name: str) -> None:
    """Imports whatever this setting names. Raises `BadSetting`."""
    setting = vars(Conf)[name]
    if isinstance(setting, Path):
        imported(name)
    elif isinstance(setting, Paths):
        all_imported(name)


def _imported(name: str, path: str) -> Any:
    try:
        return import_string(path)
    except ImportError as error:
        raise BadSetting(name, f"names {path!r}, which cannot be imported ({error})") from error


def as_markdown() -> str:
    """The settings as the table in docs/SETTINGS.md."""
    rows = ["| setting | default | unit | why |", "|---|---|---|---|"]
    rows += [f"| `{s.name}` | `{s.default!r}` | {s.unit} | {s.why} |" for s in declared()]
    return "\n".join(rows)
