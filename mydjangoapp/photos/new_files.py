"""Files that an upload stores: gone again if its transaction fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import IntegrityError, models

logger = logging.getLogger(__name__)

_noted: ContextVar[list[Any] | None] = ContextVar("mydjangoapp_new_files", default=None)


@contextmanager
def removed_on_failure() -> Iterator[Callable[[], None]]:
    """Removes the files of rows that are saved in the block, if it fails.

    Call what it yields after the last write, before the commit: after that the rows may be there, so only an
    `IntegrityError` (a user was deleted meanwhile) removes their files then.
    """
    outer, files = _noted.get(), list[Any]()
    token = _noted.set(files)
    committing = False

    def is_written() -> None:
        nonlocal committing
        committing = True

    try:
        yield is_written
    except BaseException as error:
        if not committing or isinstance(error, IntegrityError):
            for file in files:
                _remove(file)
        raise
    else:
        if outer is not None:
            outer += files
    finally:
        _noted.reset(token)


def note(instance: models.Model) -> None:
    """To be called before a row is saved, of whatever model."""
    noted = _noted.get()
    if noted is None:
        return
    for field in instance._meta.concrete_fields:
        if isinstance(field, models.FileField) and field.attname in instance.__dict__:
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
