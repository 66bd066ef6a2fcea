"""Finding the workers of the installed apps."""

from __future__ import annotations

import logging
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from django.apps import apps

from ..exceptions import UnknownWorker
from .message import check_name
from .worker import Worker

logger = logging.getLogger(__name__)

_ENDING = "_worker"
_SEPARATORS = re.compile(r"[._-]+")


def find(topic: str, channel: str) -> type[Worker]:
    """The worker of that topic and channel.

    Raises `UnknownWorker` if there is none, or if its file is broken. A broken file beside it is a
    warning in the log.
    """
    check_name("topic", topic)
    check_name("channel", channel)
    stem = _stem(topic, channel)
    found: dict[str, type[Worker]] = {}
    for app, name in _files():
        try:
            worker = _load(f"{app}.workers.{name}", name)
        except Exception as error:
            if name == stem:
                raise UnknownWorker(f"{app}/workers/{name}.py is broken: {_said(error)}") from error
            logger.warning("%s/workers/%s.py is broken and left out: %s", app, name, _said(error))
            continue
        if name in found:
            logger.warning("%s/workers/%s.py is left out: another app has this worker, too", app, name)
            continue
        found[name] = worker
    if stem not in found:
        known = ", ".join(sorted(_shown(name) for name in found)) or "none"
        raise UnknownWorker(
            f"There is no worker for topic {topic} and channel {channel}: no installed app has a file "
            f"workers/{stem}.py. There are: {known}."
        )
    return type(found[stem].__name__, (found[stem],), {"topic": topic, "channel": channel})


def _files() -> list[tuple[str, str]]:
    """Module of the app and name of the file, of each worker there is."""
    found = []
    for app in apps.get_app_configs():
        spec = find_spec(f"{app.name}.workers")
        for place in (spec.submodule_search_locations or ()) if spec else ():
            files = sorted(Path(place).glob(f"*{_ENDING}.py"))
            found += [(app.name, file.stem) for file in files]
    return found


def _load(module: str, name: str) -> type[Worker]:
    expected = "".join(part.capitalize() for part in _SEPARATORS.split(name))
    there = getattr(import_module(module), expected, None)
    if not (isinstance(there, type) and issubclass(there, Worker)):
        raise TypeError(f"it has no class {expected} that derives from Worker")
    return there


def _stem(topic: str, channel: str) -> str:
    return _SEPARATORS.sub("_", f"{topic}_{channel}") + _ENDING


def _shown(name: str) -> str:
    parts = name.removesuffix(_ENDING).split("_")
    return " ".join(parts) if len(parts) == 2 else f"{name}.py"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
