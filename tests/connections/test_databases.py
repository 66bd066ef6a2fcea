"""The app's rows in another database than `default`, beside a replica, and seen from old snapshots."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, connections, transaction

from devtools.servers import ROOT, wait_until
from mydjangoapp import graph
from mydjangoapp.connections import database
from mydjangoapp.exceptions import Blocked
from mydjangoapp.fanout import ledger
from mydjangoapp.models import Block, Follow, Photo
from mydjangoapp.photos import keys as cache_keys
from mydjangoapp.photos import row_cache, rows
from tests import servers
from tests.feeds import publish

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")
People = Callable[[int], list[Any]]

ROUTED = """
import django; django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections, transaction
from mydjangoapp import domain_events, graph, likes, tasks, uploads
from mydjangoapp.connections import database
from mydjangoapp.fanout import ledger
from mydjangoapp.models import FanOut, PendingChange, Like, Photo

call_command("migrate", "--database", "feeds", verbosity=0)
assert database.writer() == "feeds"
me, author = (get_user_model().objects.create(username=name) for name in ("me", "author"))
graph.follow(me, author)

def fail(*_):
    raise RuntimeError("broken")

open_for, ledger.open_for = ledger.open_for, fail
try:
    uploads.publish(author, description="x", photo_url="https://example.com/x.jpg")
except RuntimeError:
    pass
assert not Photo.objects.exists(), "photo and fan-out are one transaction"
ledger.open_for = open_for

sent = []
tasks.enqueue = lambda *message: sent.append(message) or True
with transaction.atomic(using="feeds"):
    photo = uploads.publish(author, description="x", photo_url="https://example.com/x.jpg")
    assert not sent, "enqueued before the commit"
assert sent == [(photo.pk, author.pk)]

liked, domain_events.photo_liked = domain_events.photo_liked, fail
try:
    likes.like(me, photo.pk)
except RuntimeError:
    pass
assert not Like.objects.exists() and Photo.objects.get().like_count == 0, "a like is one transaction"
domain_events.photo_liked = liked
assert likes.like(me, photo.pk) and Photo.objects.get().like_count == 1
with connections["default"].cursor() as cursor:
    cursor.execute("SELECT count(*) FROM sqlite_master")
    assert cursor.fetchone() == (0,), "nothing is in the other database"
"""

REPLICA = """
import django; django.setup()
import shutil
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections
from mydjangoapp import graph, uploads
from mydjangoapp.conf import conf
from mydjangoapp.fanout import chain, settling
from mydjangoapp.homefeed import feeds_redis, followers, keys, reader, rebuild
from mydjangoapp.homefeed.delivery import Message
from mydjangoapp.models import FanOut, Follow, Photo

call_command("migrate", "--database", "feeds", verbosity=0)
me, author = (get_user_model().objects.using("feeds").create(username=name) for name in ("me", "author"))
connections.close_all()
feeds, replica = (settings.DATABASES[alias]["NAME"] for alias in ("feeds", "replica"))
shutil.copy(feeds, replica)  # from here on it is behind
redis = feeds_redis.client()
graph.follow(me, author)
redis.delete(keys.followers(author.pk))
assert followers.ensure(author.pk), "made from the writer, which has the follow"
photo = uploads.publish(author, description="x", photo_url="https://example.com/x.jpg")
assert not Photo.objects.exists() and not Follow.objects.exists(), "the replica has neither"
chain.carry(Message(photo.pk, author.pk), lambda *_: True)
redis.zincrby(keys.ended(), -conf.SETTLE_SECONDS, f"{photo.pk}:{photo.user_id}")
settling.settle(lambda *_: True, lambda *_: True)
row = FanOut.objects.using("feeds").get()
assert (row.state, row.reached) == ("done", 1) and row.finished_at, "carried all the same"
redis.delete(keys.homefeed(me.pk))
assert rebuild.build(me.pk), "built from the writer"
for _ in range(2):
    [entry] = reader.older(me.pk, limit=5).entries
    assert entry.photo.id == photo.pk, "shown, and not kept as one that is not there"
"""


@pytest.mark.parametrize("script", [pytest.param(ROUTED, id="router"), pytest.param(REPLICA, id="replica")])
def test_the_app_works_on_the_database_that_takes_its_rows(tmp_path: Path, script: str) -> None:
    environ = {
        **os.environ,
        **servers.ENVIRON,
        "DJANGO_SETTINGS_MODULE": "tests.host.routed",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'feeds.sqlite3'}",
        "REPLICA": str(tmp_path / "replica.sqlite3") if script == REPLICA else "",
    }
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


def test_what_is_not_there_or_seen_from_an_old_snapshot_is_not_kept_for_others(author: Any) -> None:
    [photo] = publish(author)
    names = cache_keys.cached("photo", [photo, photo + 1])
    with transaction.atomic():
        assert database.sees_what_is_committed() is (connection.vendor == "postgresql")
    if connection.vendor == "sqlite":
        with transaction.atomic():
            assert photo in row_cache.fetch((rows.PHOTOS, [photo]))[0]
        assert cache.get(names[photo]) is None
    with transaction.atomic():
        Photo.objects.get(pk=photo).save()
        row_cache.fetch((rows.PHOTOS, [photo]))
        transaction.set_rollback(True)
    assert cache.get(names[photo]) is None, "what was never committed"
    assert set(row_cache.fetch((rows.PHOTOS, [photo, photo + 1]))[0]) == {photo}
    assert cache.get(names[photo]) is not None
    assert cache.get(names[photo + 1]) is None, "it may be on its way"


on_postgres = pytest.mark.skipif(
    "postgres" not in servers.ON, reason="SQLite lets one transaction write at a time"
)


class Thread(threading.Thread):
    """Does something in a transaction of its own, and keeps what became of it."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self._act = act
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._act()
        except Exception as error:
            self.error = error
        finally:
            connections.close_all()

    def is_over_or_waits(self) -> bool:
        """Whether it has ended, or waits for a lock of somebody else's."""
        if not self.is_alive():
            return True
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(cursor.fetchone()[0])

    def settle(self) -> None:
        wait_until(self.is_over_or_waits, seconds=20, what="the other has ended or waits")


@on_postgres
@pytest.mark.parametrize("follow", ["one", "many"])
def test_of_a_follow_and_a_block_at_once_one_sees_the_other(make_users: People, follow: str) -> None:
    """Both committed, and after an unblock the follow was back, unasked."""
    me, other = make_users(2)

    def do_follow() -> None:
        if follow == "one":
            graph.follow(me, other)
        else:
            graph.follow_many([me], other)

    with transaction.atomic():
        do_follow()
        block = Thread(lambda: graph.block(other, me))
        block.settle()
    block.join()
    assert (block.error, Follow.objects.count(), Block.objects.count()) == (None, 0, 1)
    Block.objects.all().delete()
    with transaction.atomic():
        graph.block(other, me)
        follower = Thread(do_follow)
        follower.settle()
    follower.join()
    assert isinstance(follower.error, Blocked) if follow == "one" else follower.error is None
    assert (Follow.objects.count(), Block.objects.count()) == (0, 1)


@on_postgres
def test_followers_of_a_celebrity_do_not_wait_for_each_other(make_users: People) -> None:
    one, two, celebrity = make_users(3)
    with transaction.atomic():
        graph.follow(one, celebrity)
        other = Thread(lambda: graph.follow(two, celebrity))
        other.join(20)
        assert not other.is_alive()
    assert (other.error, Follow.objects.count()) == (None, 2)


@on_postgres
def test_two_users_who_block_each_other_at_once_both_do(make_users: People) -> None:
    """One was told that the database does not answer: they waited for each other."""
    for _ in range(20):
        me, other = make_users(2)
        graph.follow(me, other)
        graph.follow(other, me)
        together = threading.Barrier(2)

        def block(one: Any, another: Any, together: threading.Barrier = together) -> None:
            together.wait(20)
            graph.block(one, another)

        threads = [Thread(lambda a=me, b=other: block(a, b)), Thread(lambda a=other, b=me: block(a, b))]  # type: ignore[misc]
        for thread in threads:
            thread.join()
        assert [thread.error for thread in threads] == [None, None]
        assert Block.objects.filter(blocker__in=(me, other)).count() == 2
    assert not Follow.objects.exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL is asked to prepare")
def test_a_query_that_is_asked_again_and_again_is_prepared(pair: tuple[Any, Any]) -> None:
    [photo] = publish(pair[1])
    for _ in range(8):
        ledger.entry_to_begin(photo, pair[1].pk)
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        prepared = [statement for (statement,) in cursor.fetchall()]
    assert any("mydjangoapp_fanout" in statement for statement in prepared)


# A site that upgrades has full tables. What came with the first versions is applied when they are empty.
APPLIED_LONG_AGO = [f"{number:04}" for number in range(1, 10)]


@pytest.mark.skipif("postgres" not in servers.ON, reason="locks of PostgreSQL")
def test_migrations_lock_no_table_for_long() -> None:
    from django_migration_linter import MigrationLinter

    def lint(ignored: list[str]) -> Any:
        linter = MigrationLinter(
            str(ROOT),
            include_apps=["mydjangoapp"],
            ignore_name=[name for name in migration_names() if name[:4] in ignored],
            no_cache=True,
            no_output=True,
            all_warnings_as_errors=True,
        )
        linter.lint_all_migrations()
        return linter

    assert lint([]).has_errors, "it knows what locks"
    recent = lint(APPLIED_LONG_AGO)
    assert recent.nb_total == recent.nb_valid + recent.nb_ignored and not recent.has_errors
    assert recent.nb_valid >= 2


def migration_names() -> list[str]:
    return [file.stem for file in (ROOT / "mydjangoapp/migrations").glob("0*.py")]
