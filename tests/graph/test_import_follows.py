"""A graph that exists already, brought along."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from devtools.servers import Server
from mydjangoapp import graph, outbox
from mydjangoapp.events.transport import Consumer
from mydjangoapp.graph import import_rows
from mydjangoapp.graph.import_rows import BLOCKED, ONESELF, THERE, UNKNOWN
from mydjangoapp.homefeed import followers, keys
from mydjangoapp.models import Follow, PastFollow, PendingChange
from tests.events.conftest import take, take_nothing
from tests.events.test_publishing import consumer_of
from tests.feeds import carry, ids_of, logged_in, publish, truth_of

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")

LONG_AGO = datetime(2015, 5, 17, 12, tzinfo=UTC)


@pytest.fixture
def people(make_users: Callable[[int], list[Any]]) -> list[Any]:
    return make_users(6)


def rows_of(people: list[Any]) -> list[graph.Row]:
    """Everybody follows everybody, a day apart."""
    pairs = [(one.pk, other.pk) for one in people for other in people if one != other]
    return [graph.Row(*pair, LONG_AGO + timedelta(days=day)) for day, pair in enumerate(pairs)]


def csv_of(rows: list[graph.Row], path: Path) -> Path:
    lines = [f"{row.follower},{row.followee},{row.created_at:%Y-%m-%d %H:%M:%S}" for row in rows]
    path.write_text("\n".join(["follower,followee,created_at", *lines, ""]))
    return path


def in_sql() -> list[graph.Row]:
    follows = Follow.objects.order_by("id").values_list("follower_id", "followee_id", "created_at")
    return [graph.Row(*row) for row in follows]


def test_dates_and_order_are_kept_and_nobody_is_told(people: list[Any], redis: Any) -> None:
    events: Consumer = next(consumer_of("graph"))
    rows = rows_of(people)
    assert graph.import_follows(rows) == {"made": 30}
    assert in_sql() == rows
    take_nothing(events)
    author = people[0]
    assert followers.ensure(author.pk)
    listed = redis.lrange(keys.followers(author.pk), 0, -1)
    assert listed == [str(row.follower).encode() for row in rows if row.followee == author.pk]
    following = logged_in(author).get(f"/users/{author.pk}/following/").json()["results"]
    assert [one["id"] for one in following] == [people[n].pk for n in (5, 4, 3, 2, 1)]


def test_events_are_published_where_they_are_asked_for(people: list[Any]) -> None:
    events: Consumer = next(consumer_of("graph"))
    rows = rows_of(people)[:3]
    graph.import_follows(rows[:1])
    graph.import_follows(rows, announce=True)
    bodies = [message.opened() for message in take(events, 2)]
    assert bodies == [{"follower_id": one.follower, "followee_id": one.followee} for one in rows[1:]]
    graph.follow_many(people[1:], people[0], announce=False)
    take_nothing(events)


def test_what_cannot_be_is_left_out_and_counted(people: list[Any]) -> None:
    me, other, blocker, *_ = people
    graph.block(blocker, me)
    graph.follow(me, other)
    rows = [
        graph.Row(me.pk, other.pk),
        graph.Row(me.pk, me.pk),
        graph.Row(me.pk, 10**9),
        graph.Row(me.pk, blocker.pk),
        graph.Row(blocker.pk, me.pk),
        graph.Row(other.pk, me.pk),
        graph.Row(other.pk, me.pk),
    ]
    assert graph.import_follows(rows) == {"made": 1, THERE: 2, ONESELF: 1, UNKNOWN: 1, BLOCKED: 2}
    assert [(row.follower, row.followee) for row in in_sql()] == [(me.pk, other.pk), (other.pk, me.pk)]


def test_lists_that_were_there_have_what_was_imported(people: list[Any], redis: Any) -> None:
    me, author, *others = people
    old = publish(author, 3)
    graph.follow(others[0], author)
    assert ids_of(logged_in(me).get("/feed/")) == []
    graph.follow(me, others[1])
    publish(others[1])
    assert len(ids_of(logged_in(me).get("/feed/"))) == 1
    graph.import_follows([graph.Row(me.pk, author.pk, LONG_AGO)])
    assert ids_of(logged_in(me).get("/feed/")) == truth_of(me)
    assert set(old) < set(truth_of(me))
    [new] = publish(author)
    assert followers.ensure(author.pk)
    carry(new, author)
    for reader in (me, others[0]):
        assert str(new).encode() in redis.lrange(keys.homefeed(reader.pk), 0, -1)
    call_command("verify_feeds")


def test_an_import_that_dies_before_redis_knows_is_caught_up_with(
    people: list[Any], redis: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, author, *_ = people
    graph.follow(people[2], author)
    publish(author)
    assert ids_of(logged_in(me).get("/feed/")) == []
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "bring_in", lambda changes: None)  # the process ends at the commit
        graph.import_follows([graph.Row(me.pk, author.pk)])
    assert redis.exists(keys.followers(author.pk)), "Redis knows nothing of it"
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "SETTLE_SECONDS": 0.001}
    assert PendingChange.objects.latest("id").verb == "imported"
    assert outbox.catch_up() >= 1
    assert not redis.exists(keys.followers(author.pk))
    assert ids_of(logged_in(me).get("/feed/")) == truth_of(me) != []


def test_a_kept_past_ends_when_the_follow_comes_again(people: list[Any]) -> None:
    me, author, other, *_ = people
    for one in (author, other):
        PastFollow.objects.create(follower=me, followee=one, upto=5)
    graph.import_follows([graph.Row(me.pk, author.pk)])
    assert [row.followee_id for row in PastFollow.objects.all()] == [other.pk]


def test_the_command_reads_a_file_and_may_be_broken_off(
    people: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    rows = rows_of(people)
    file = csv_of(rows, tmp_path / "follows.csv")
    monkeypatch.setattr(import_rows, "ROWS_PER_TRANSACTION", 7)

    def broken_off(*ids: int) -> None:
        if (rows[14].follower, rows[14].followee) in {row[:2] for row in in_sql()}:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(import_rows, "_end_past_follows", broken_off)
        with pytest.raises(KeyboardInterrupt):
            call_command("import_follows", str(file))
    assert in_sql() == rows[:14], "whole transactions stay"
    call_command("import_follows", str(file))
    assert in_sql() == rows
    said = capsys.readouterr().out
    assert "16 follows made" in said
    assert "14 there already" in said
    assert "6 follower lists built" in said
    call_command("import_follows", str(file))
    assert "0 follows made" in capsys.readouterr().out
    call_command("verify_feeds")


HELD = """
import threading
from pathlib import Path
from django.core.management import call_command
from mydjangoapp.graph import import_rows
from mydjangoapp.models import Follow

file, held, following = {arguments!r}
import_rows.ROWS_PER_TRANSACTION = 100
before = import_rows._end_past_follows

def is_here(pair):
    return Follow.objects.filter(follower=pair[0], followee=pair[1]).exists()

def write_down(first, last):
    before(first, last)
    if is_here(following):
        Path(file + ".following").touch()
    if is_here(held):
        Path(file + ".held").touch()
        threading.Event().wait()

import_rows._end_past_follows = write_down
call_command("import_follows", file)
"""
"""An import that stands still, before its commit, in the transaction that makes a certain follow."""


def test_what_is_left_by_a_kill_is_a_beginning_and_the_order_stays(
    make_users: Callable[[int], list[Any]], tmp_path: Path
) -> None:
    """SIGKILL while a transaction is written and not committed, and on PostgreSQL the next one, too."""
    ids = [user.pk for user in make_users(30)]
    pairs = [(one, other) for one in ids for other in ids if one != other]
    random.Random(1).shuffle(pairs)  # noqa: S311  # not a secret
    rows = [graph.Row(*pair, LONG_AGO + timedelta(seconds=number)) for number, pair in enumerate(pairs)]
    for committed in (200, 500):
        file = csv_of(rows, tmp_path / f"{committed}.csv")
        held, following = tuple(rows[committed + 50][:2]), tuple(rows[committed + 150][:2])
        code = HELD.format(arguments=(str(file), held, following))
        signs = [f"{file}.held"] + [f"{file}.following"] * (connection.vendor == "postgresql")
        with Server([sys.executable, "manage.py", "shell", "-v0", "-c", code], tmp_path / "log") as importing:
            for sign in signs:
                importing.wait_for(Path(sign).exists, seconds=60, what=sign)
            importing.kill()
        assert in_sql() == rows[:committed]
    call_command("import_follows", str(file), no_lists=True)
    assert in_sql() == rows


def test_a_transaction_that_the_database_ends_is_done_again_in_its_place(
    people: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(people)
    monkeypatch.setattr(import_rows, "ROWS_PER_TRANSACTION", 4)
    before, refused = import_rows._end_past_follows, iter(["once"])

    def refusing(first: int, last: int) -> None:
        before(first, last)
        if (rows[9].follower, rows[9].followee) in {row[:2] for row in in_sql()} and next(refused, None):
            raise OperationalError("terminating connection due to administrator command")

    monkeypatch.setattr(import_rows, "_end_past_follows", refusing)
    if connection.vendor == "postgresql":
        assert graph.import_follows([*rows, *rows[:2]]) == {"made": 30, THERE: 2}
    else:  # one by one, as the command is told to be run again
        with pytest.raises(OperationalError):
            graph.import_follows(rows)
        assert in_sql() == rows[:8]
        graph.import_follows(rows)
    assert in_sql() == rows


def test_the_command_reads_a_table(people: list[Any], capsys: Any) -> None:
    """Any model with two users and a date will do; the app's own is at hand."""
    for number, (one, other) in enumerate(((0, 1), (2, 1), (1, 0))):
        PastFollow.objects.create(follower=people[one], followee=people[other], upto=number)
    call_command("import_follows", "--from-model", "mydjangoapp.PastFollow:follower,followee")
    assert [(row.follower, row.followee) for row in in_sql()] == [
        (people[one].pk, people[other].pk) for one, other in ((0, 1), (2, 1), (1, 0))
    ]
    assert "3 follows made" in capsys.readouterr().out


def test_users_may_be_named_by_another_field(people: list[Any], tmp_path: Path) -> None:
    field = people[0].USERNAME_FIELD
    me, author = (getattr(one, field) for one in people[:2])
    (tmp_path / "f.csv").write_text(f"{me}, {author}\n{author},nobody\n")
    call_command("import_follows", str(tmp_path / "f.csv"), by=field)
    assert [(row.follower, row.followee) for row in in_sql()] == [(people[0].pk, people[1].pk)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1\n", "line 1: 1 columns"),
        ("follower,followee\n1,2,3,4\n", "line 2: 4 columns"),
        ("x y z,\x00\n", "line 1"),
        ("1,2,yesterday\n", "'yesterday' is not a date"),
        ("1,2,2020-13-01\n", "'2020-13-01' is not a date"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_half_done(
    text: str, words: str, people: list[Any], tmp_path: Path
) -> None:
    is_text = people[0]._meta.pk.get_internal_type() == "CharField"
    if "x y z" in text and is_text:
        words = "follows made"
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(CommandError, match=words):
        call_command("import_follows", str(tmp_path / "f.csv"))
    assert not Follow.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give either"),
        (["f.csv", "--from-model", "a.B:c,d"], "Give either"),
        (["/nowhere/f.csv"], "No such file"),
        (["--from-model", "shop.Nothing:a,b"], "shop"),
        (["--from-model", "mydjangoapp.Follow:follower,who"], "who"),
        (["--from-model", "mydjangoapp.Follow:follower"], "follower,followee"),
        (["f.csv", "--by", "shoe_size"], "no unique field 'shoe_size'"),
    ],
)
def test_bad_arguments_are_named(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("import_follows", *arguments)


def test_a_late_unfollow_does_not_undo_a_follow_that_an_import_has_numbered_before(
    people: list[Any], redis: Any
) -> None:
    """The import takes its ids, then somebody follows and unfollows, then the import's row is committed."""
    me, author, *_ = people
    graph.import_follows([graph.Row(me.pk, author.pk)])
    row = Follow.objects.get()
    assert followers.ensure(author.pk)
    late = PendingChange(verb="unfollow", user_id=me.pk, author_id=author.pk, follow_id=row.pk + 1)
    outbox.bring_in(outbox.write([late]))
    [photo] = publish(author)
    carry(photo, author)
    assert redis.lrange(keys.homefeed(me.pk), 0, -1) == [str(photo).encode()]
