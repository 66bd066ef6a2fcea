"""What PostgreSQL makes of the app's queries on two million photos and ten million follows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.db.models import Index
from django.test.utils import CaptureQueriesContext

from mydjangoapp import graph, outbox
from mydjangoapp.fanout import rescue, settling
from mydjangoapp.homefeed import followers, reader, rebuild, verify
from mydjangoapp.models import Follow, get_photo_model
from mydjangoapp.ops import pruning
from tests import servers
from tests.ledger import Sent, carry, publish

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif("postgres" not in servers.ON, reason="plans of PostgreSQL"),
]

PEOPLE, PHOTOS = 200_000, 2_000_000
CELEBRITY, READER = 1, 2
BIG = {"auth_user", "mydjangoapp_follow", "mydjangoapp_photo", "mydjangoapp_fanout"}
OF_FEW = {"fanout_open", "fanout_failed"}  # indexes that hold the few rows of a state
FILL = """
INSERT INTO auth_user (id, username, password, first_name, last_name, email,
        is_staff, is_active, is_superuser, date_joined)
    SELECT n, 'person-' || n, '!', '', '', '', false, true, false, now()
    FROM generate_series(1, %(people)s) n;
INSERT INTO mydjangoapp_follow (follower_id, followee_id, created_at)
    SELECT n, followee, now()
    FROM generate_series(1, %(people)s) n, generate_series(1, 49) k,
        LATERAL (SELECT (n + k * 3989) %% %(people)s + 1) AS near (followee)
    WHERE followee NOT IN (n, %(celebrity)s);
INSERT INTO mydjangoapp_follow (follower_id, followee_id, created_at)
    SELECT n, %(celebrity)s, now() FROM generate_series(2, %(people)s) n;
INSERT INTO mydjangoapp_photo (user_id, description, photo_url, image, like_count, pulled, created_at)
    SELECT (n * 919) %% %(people)s + 1, 'a photo', 'https://example.com/', '', 0, false,
        now() - (n || ' seconds')::interval
    FROM generate_series(1, %(photos)s) n;
INSERT INTO mydjangoapp_fanout (photo_id, author_id, state, cursor, reached, total, created_at, finished_at,
        heartbeat_at, attempts, last_error)
    SELECT id, user_id, 'done', 50, 50, 50, created_at, created_at, created_at, 1, '' FROM mydjangoapp_photo;
"""


@pytest.fixture(scope="module")
def filled(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The tables, full; for all tests of this file, as that takes minutes."""
    with django_db_blocker.unblock():
        numbers = {"people": PEOPLE, "celebrity": CELEBRITY, "photos": PHOTOS}
        with connection.schema_editor() as editor, connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")  # foreign keys are not looked at
            for part in (*Follow._meta.indexes, *Follow._meta.constraints[:1]):  # a third of the time
                remove = editor.remove_index if isinstance(part, Index) else editor.remove_constraint
                remove(Follow, part)
            for statement in filter(str.strip, FILL.split(";\n")):
                cursor.execute(statement, numbers)
            for part in (*Follow._meta.indexes, *Follow._meta.constraints[:1]):
                add = editor.add_index if isinstance(part, Index) else editor.add_constraint
                add(Follow, part)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        yield
        call_command("flush", interactive=False, verbosity=0)


def read_a_feed(me: Any) -> None:
    rebuild.build(me.pk)
    page = reader.older(me.pk, limit=20)
    reader.newer(me.pk, limit=20, after=page.entries[-1].photo.id)
    reader.older(me.pk, limit=20, before=PHOTOS // 2)  # below the floor: SQL alone


def rebuild_a_follower_list(_: Any) -> None:
    assert followers.rebuild(CELEBRITY) > PEOPLE // 2


def carry_a_photo(me: Any) -> None:
    photo = publish(me)
    carry(photo, me)
    rescue.rescue(Sent())
    settling.settle(Sent(), Sent())
    rescue.retry(Sent())


def carry_a_celebritys_photo(_: Any) -> None:
    author = get_user_model().objects.get(pk=CELEBRITY)
    carry(publish(author), author)


def change_the_graph(me: Any) -> None:
    other = get_user_model().objects.get(pk=50_000)
    graph.follow(other, me)
    graph.unfollow(other, me)
    graph.mute(me, other)
    graph.unmute(me, other)
    graph.block(me, other)
    graph.unblock(me, other)
    outbox.catch_up()


def tidy_up(_: Any) -> None:
    pruning.prune()


def compare_with_sql(me: Any) -> None:
    rebuild.build(me.pk)
    assert verify.feed(me.pk) == []
    followers.ensure(CELEBRITY)
    assert verify.follower_list(CELEBRITY) == []


ACTS = [
    read_a_feed,
    rebuild_a_follower_list,
    carry_a_photo,
    carry_a_celebritys_photo,
    change_the_graph,
    tidy_up,
    compare_with_sql,
]


@pytest.mark.parametrize("act", ACTS)
def test_no_table_is_read_from_end_to_end(
    filled: None, db: None, redis: Any, act: Callable[[Any], None]
) -> None:
    me = get_user_model().objects.get(pk=READER)
    with CaptureQueriesContext(connection) as seen:
        act(me)
    begins = re.compile(r"\(*(SELECT|UPDATE|DELETE|WITH)\b")
    statements = [query["sql"] for query in seen if begins.match(query["sql"])]
    assert statements
    assert act is not read_a_feed or any("UNION" in statement for statement in statements)
    found = {}
    for statement in statements:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}")
            [[told]] = cursor.fetchall()
        [plan] = json.loads(told) if isinstance(told, str) else told
        if tables := sorted(read_whole(plan["Plan"])):
            found[statement[:400]] = tables
    assert not found


def test_the_look_at_plans_sees_a_table_that_is_read_from_end_to_end(filled: None, db: None) -> None:
    photos = get_photo_model().objects.all()
    for query in (photos.filter(description="another"), photos.order_by()):
        plan: Any = json.loads(query.explain(format="JSON"))
        assert list(read_whole(plan[0]["Plan"])) == ["mydjangoapp_photo"]


def read_whole(plan: dict[str, Any]) -> Iterator[str]:
    """The big tables that a plan reads from end to end."""
    kind = plan["Node Type"]
    by_no_condition = "Index" in kind and "Index Cond" not in plan and "Filter" in plan
    is_whole = kind == "Seq Scan" or (by_no_condition and plan.get("Index Name") not in OF_FEW)
    if is_whole and plan.get("Relation Name") in BIG:
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from read_whole(part)
