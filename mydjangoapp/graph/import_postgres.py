"""Imports follows on PostgreSQL: copies the rows into a temporary table, then inserts from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import connections

from ..connections import database
from ..exceptions import FeedError
from ..models import Block, Follow
from .in_order import Position

TABLE = "mydjangoapp_import"

_MAKE = """
CREATE TEMPORARY TABLE IF NOT EXISTS {table} (
    id bigint, follower {type}, followee {type}, created_at timestamp with time zone
) ON COMMIT DROP
"""
_IDS = "SELECT nextval(pg_get_serial_sequence(%s, 'id')) AS id FROM generate_series(1, %s) ORDER BY id"
_COPY = "COPY {table} (id, follower, followee, created_at) FROM STDIN"
# New blocks wait until the transaction ends. A block writes its row before it ends follows, so it then ends
# those that were made here. Cheaper than locking ten thousand users.
_LOCK = "LOCK TABLE {blocks} IN SHARE MODE"
_KNOWN = """
SELECT row.id, row.created_at, one.{pk} AS follower_id, other.{pk} AS followee_id, EXISTS (
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
    INSERT INTO {follows} (id, follower_id, followee_id, created_at)
    SELECT id, follower_id, followee_id, COALESCE(created_at, now()) FROM known
    WHERE follower_id <> followee_id AND NOT is_blocked
    ORDER BY id
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


def is_usable_side_by_side() -> bool:
    """Whether other connections see what the caller sees: not within a transaction of its own."""
    return is_usable() and connections[database.writer()].get_autocommit()


def insert(rows: Sequence[Any], by: str, position: Position) -> Inserted:
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
        cursor.execute(_LOCK.format(**words))
        # Before the next one begins: the order of the rows is the order of their ids.
        cursor.execute(_IDS, [words["follows"], len(rows)])
        ids = [id_ for (id_,) in cursor.fetchall()]
        if None in ids:
            raise FeedError(
                f"{words['follows']}.id owns no sequence, so rows cannot be numbered. In PostgreSQL: "
                "ALTER SEQUENCE its_name OWNED BY the column."
            )
        position.has_begun()
        if not position.alone:
            # PostgreSQL does not see that the next one waits for this one. This one waits for the next where
            # both write the same row: two names are one user to the database. So it may not wait for ever.
            cursor.execute("SET LOCAL lock_timeout = '10s'")
        cursor.execute(_MAKE.format(**words))
        cursor.execute(f"TRUNCATE {TABLE}")
        with cursor.copy(_COPY.format(**words)) as copy:
            for id_, row in zip(ids, rows, strict=True):
                copy.write_row((id_, row.follower, row.followee, row.created_at))
        cursor.execute(f"ANALYZE {TABLE}")
        cursor.execute(_INSERT.format(known=_KNOWN.format(**words), **words))
        return Inserted(*cursor.fetchone())
