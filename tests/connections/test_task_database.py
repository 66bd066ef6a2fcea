"""Database connections that tasks keep."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from mydjangoapp import tasks
from mydjangoapp.connections import task_database

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")


def test_a_task_that_runs_in_place_leaves_the_callers_transaction_alone(author: Any) -> None:
    """A host's own tests run tasks in place; closing the connection would take their rows back."""
    users = get_user_model().objects.filter(pk=author.pk)
    with transaction.atomic():
        users.update(first_name="Ada")
        tasks.compact_followers.apply(args=[author.pk])
        assert users.filter(first_name="Ada").exists()
    assert users.filter(first_name="Ada").exists()


def test_a_connection_is_kept_until_it_had_an_error(db: None) -> None:
    connection.ensure_connection()
    kept = connection.connection
    tasks.prune.push_request(is_eager=False)
    try:
        task_database._after_task(tasks.prune)
        assert connection.connection is kept
        connection.errors_occurred = True
        connection.close_at = 0.0
        task_database._after_task(tasks.prune)
        assert connection.connection is None
    finally:
        tasks.prune.pop_request()
