"""Imports follows on PostgreSQL: copies the rows into a temporary table, then inserts from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import connections

from ..connections import database
from ..models import Block, Follow

TABLE = "mydjangoapp_import"

_MAKE = """
CREATE TEMPORARY TABLE IF NOT EXISTS {table} (
    place integer, follower {type}, followee {type}, created_at timestamp with time zone
) ON COMMIT DROP
"""
_COPY = "COPY {table} (place, follower, followee, created_at) FROM STDIN"
# New blocks wait until the transaction ends. A block writes its row before it ends follows, so it then ends
# those that were made here. Cheaper than locking ten thousand users.
_LOCK = "LOCK TABLE {blocks} IN SHARE MODE"
_KNOWN = """
SELECT row.place, row.created_at, one.{pk} AS follower_id, other.{pk} AS followee_id, EXISTS (
    SELECT 1 FROM {blocks} AS block
    WHERE (block.blocker_id = one.{pk} AND block.blocked_id = other.{pk})
       OR (block.blocker_id = other.{pk} AND block.blocked_id = one.{pk})
) AS is_blocked
FROM {table} AS row
LEFT JOIN {users} AS one ON one.{by} = row.follower
LEFT JOIN {users} AS other ON other.{by} = row.followee
"""
_INSERT = """
WITH known AS MATERIALIZED ({known}), made AS (
    INSERT INTO {follows} (follower_id, followee_id, created_at)
    SELECT follower_id, followee_id, COALESCE(created_at, now()) FROM known
    WHERE follower_id <> followee_id AND NOT is_blocked
    ORDER BY place
    ON CONFLICT (follower_id, followee_id) DO NOTHING
    RETURNING id
)
SELECT
    (SELECT count(*) FROM known WHERE follower_id IS NULL OR followee_id IS NULL),
    (SELECT count(*) FROM known WHERE follower_id = followee_id),
    (SELECT count(*) FROM known WHERE is_blocked),
    (SELECT count(*) FROM made), (SELECT min(id) FROM made), (SELECT max(id) FROM made)
"""


class Inserted(NamedTuple):
    """Numbers of rows; ids of the first and the last that were made."""

    unknown: int
    oneself: int
    blocked: int
    made: int
    first: int | None
    last: int | None


def is_usable() -> bool:
    """Whether the database is PostgreSQL by psycopg 3."""
    connection: Any = connections[database.writer()]
    return bool(connection.vendor == "postgresql" and connection.Database.__name__ == "psycopg")


def insert(rows: Sequence[Any], by: str) -> Inserted:
    """Inserts follows in their order, in the open transaction; users of `by` are looked up there."""
    connection = connections[database.writer()]
    users: Any = get_user_model()._meta
    quote = connection.ops.quote_name
    named = users.pk if by == "pk" else users.get_field(by)
    words = {
        "table": TABLE,
        "type": named.rel_db_type(connection) if by == "pk" else named.db_type(connection),
        "users": quote(users.db_table),
        "pk": quote(users.pk.column),
        "by": quote(named.column),
        "blocks": quote(Block._meta.db_table),
        "follows": quote(Follow._meta.db_table),
    }
    with connection.cursor() as cursor:
        cursor.execute(_MAKE.format(**words))
        cursor.execute(f"TRUNCATE {TABLE}")
        with cursor.copy(_COPY.format(**words)) as copy:
            for place, row in enumerate(rows):
                copy.write_row((place, row.follower, row.followee, row.created_at))
        cursor.execute(f"ANALYZE {TABLE}")
        cursor.execute(_LOCK.format(**words))
        cursor.execute(_INSERT.format(known=_KNOWN.format(**words), **words))
        return Inserted(*cursor.fetchone())
