"""The database that the app's rows are in: transactions there, and what is done when one commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import connections, models, router, transaction
from django.db.transaction import Atomic

from ..conf import conf
from .patience import Patience, bounded_by

READ_COMMITTED = "read committed"
Row = TypeVar("Row", bound=models.Model)


def writer() -> str:
    """Alias of the database that takes the app's rows. One database has all of them, and the users."""
    from ..models import FanOut  # here, because models use this module

    return router.db_for_write(FanOut)


def primary(model: type[Row]) -> models.QuerySet[Row]:
    """The rows of a model as that database has them: a replica may be behind."""
    return model._default_manager.using(writer())


def atomic() -> Atomic:
    """A transaction in that database, or a savepoint of the one that is open."""
    return transaction.atomic(using=writer())


def on_commit(step: Callable[[], object], *, using: str | None = None) -> None:
    """Does something when the open transaction has committed, or now if none is open.

    All steps of one commit share their patience: together they wait no longer than `PUBLISH_TIMEOUT` for
    servers that do not answer, and what cannot be done then is left to the outbox. An error is logged and
    does not reach the caller, whose change has been committed.
    """
    if _waits_for_no_commit:
        with bounded_by(None):
            step()
        return
    connection = transaction.get_connection(using or writer())
    steps = (entry[1] for entry in connection.run_on_commit)
    patience = next((one.patience for one in steps if isinstance(one, _Step)), None)
    transaction.on_commit(
        _Step(step, patience or Patience(conf.PUBLISH_TIMEOUT)), using=connection.alias, robust=True
    )


_waits_for_no_commit = False


@contextmanager
def without_waiting_for_commits() -> Iterator[None]:
    """Does at once what is to be done on commit, and raises its errors: for tests in a transaction that is
    never committed."""
    global _waits_for_no_commit
    before, _waits_for_no_commit = _waits_for_no_commit, True
    try:
        yield
    finally:
        _waits_for_no_commit = before


class _Step:
    """One step of a commit."""

    def __init__(self, step: Callable[[], object], patience: Patience) -> None:
        self._step = step
        self.patience = patience

    def __call__(self) -> None:
        with bounded_by(self.patience):
            self._step()


def lock(rows: models.QuerySet[Any]) -> list[Any]:
    """Locks these rows until the transaction ends, in the order of their keys, so that two callers cannot
    wait for each other; returns the keys. Inserts that refer to the rows go on where the database can tell
    them apart (PostgreSQL). Nothing to do where writers take turns anyway (SQLite)."""
    features = connections[rows.db].features
    if not features.has_select_for_update:
        return []
    locked = rows.select_for_update(no_key=features.has_select_for_no_key_update).order_by("pk")
    return list(locked.values_list("pk", flat=True))


def locks_leave_references_alone() -> bool:
    """Whether rows that refer to a locked one can be written meanwhile."""
    return connections[writer()].features.has_select_for_no_key_update


def sees_what_is_committed() -> bool:
    """Whether a query now sees the latest commits: neither what was true when a transaction began, nor what
    this one has changed itself and may take back."""
    connection: Any = connections[writer()]
    if not connection.in_atomic_block:
        return True
    if connection.run_on_commit:  # each change of ours registers a step
        return False
    level = getattr(connection, "isolation_level", None)
    name = getattr(level, "name", level)  # psycopg has an enum, MySQL's backend a text
    return str(name).lower().replace("_", " ") == READ_COMMITTED
