"""The database: locked for long, restarted in mid-chain."""

from __future__ import annotations

import sqlite3
import time

import pytest
from django.conf import settings
from django.db import connections

from tests import servers
from tests.faults.trial import Trial

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]


@pytest.mark.slow
@pytest.mark.skipif("postgres" in servers.ON, reason="this run is on PostgreSQL")
@pytest.mark.row(15, "SQLite is locked for 10 s in mid-chain")
def test_sqlite_is_locked(trial: Trial) -> None:
    trial.get_under_way()
    other = sqlite3.connect(settings.DATABASES["default"]["NAME"], isolation_level=None, timeout=20)
    other.execute("BEGIN EXCLUSIVE")
    try:
        time.sleep(10)  # the fault itself
    finally:
        other.execute("ROLLBACK")
        other.close()
    trial.healed()
    trial.judge()


@pytest.mark.skipif("postgres" not in servers.ON, reason="this run is on SQLite")
@pytest.mark.row(15, "PostgreSQL is restarted in mid-chain")
def test_postgres_is_restarted(trial: Trial) -> None:
    assert servers.POSTGRES is not None
    trial.get_under_way()
    servers.POSTGRES.restart()
    connections.close_all()
    trial.healed()
    trial.judge()
