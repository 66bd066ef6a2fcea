"""Files that an upload stores: gone again if its transaction fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import models

logger = logging.getLogger(__name__)

_noted: ContextVar[list[Any] | None] = ContextVar("mydjangoapp_new_files", default=None)


@contextmanager
def removed_on_failure() -> Iterator[Callable[[], None]]:
    """Removes the files that rows store which are saved within, unless what it yields has been called: do
    that when all is written, before the commit. From there on the rows may be there."""
    files: list[Any] = []
    token = _noted.set(files)
    keep = False

    def is_written() -> None:
        nonlocal keep
        keep = True

    try:
        yield is_written
    finally:
        _noted.reset(token)
        if not keep:
            for file in files:
                _remove(file)


def note(instance: models.Model) -> None:
    """To be called before a row is saved, of whatever model."""
    noted = _noted.get()
    if noted is None:
        return
    for field in instance._meta.concrete_fields:
        if isinstance(field, models.FileField):
            file = getattr(instance, field.attname)
            if file and not file._committed:
                noted.append(file)


def _remove(file: Any) -> None:
    if not (file and file._committed):
        return  # it was not stored
    try:
        file.storage.delete(file.name)
    except Exception:  # what the caller is to hear of is why the upload failed
        logger.exception("a file of an upload that failed stays in the storage: %s", file.name)
