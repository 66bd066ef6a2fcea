"""The ledger: late and unknown photos, deletions, progress, what a refusing Redis does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.checks import ERROR
from django.core.management import call_command
from django.db import connection as database
from django.utils import timezone

from devtools.servers import wait_until
from mydjangoapp import tasks
from mydjangoapp.checks.servers import photo_ids_are_exact
from mydjangoapp.exceptions import PhotoIdTooLarge
from mydjangoapp.fanout import chain, ledger
from mydjangoapp.homefeed import delivery, keys
from mydjangoapp.homefeed.delivery import Beginning, Message
from mydjangoapp.models import FanOut, Photo
from tests.checker import ALL_ONCE, fill, outcome, state
from tests.feeds import ids_of, logged_in
from tests.ledger import Sent, carry, followers_client, publish, settled

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")


def test_a_photo_without_a_fanout_row_gets_one(author: Any) -> None:
    users = fill(author.pk, 5)
    [photo] = Photo.objects.bulk_create([Photo(user=author, description="imported")])
    assert carry(photo.pk, author) == []
    assert settled(photo.pk) == "done"
    assert outcome(photo.pk, users) == ALL_ONCE


def test_an_unknown_photo_reaches_nobody_and_leaves_nothing(author: Any, redis: Any) -> None:
    fill(author.pk, 5)
    assert carry(987_654, author) == []
    assert not redis.exists(keys.fanout(author.pk, 987_654))
    assert not FanOut.objects.exists()


def test_a_deleted_photo_is_cancelled_and_its_row_remains(author: Any, redis: Any) -> None:
    users = fill(author.pk, 5)
    photo = publish(author)
    Photo.objects.get(pk=photo).delete()
    assert state(photo) == "cancelled"
    assert carry(photo, author) == []
    assert outcome(photo, [], absent=users).unexpected == 0


def test_a_message_that_names_another_user_serves_the_authors_followers(
    author: Any, make_users: Any, caplog: pytest.LogCaptureFixture
) -> None:
    [other] = make_users(1)
    users = fill(author.pk, 5)
    followers_client().rpush(keys.followers(other.pk), 42)
    photo = publish(author)
    chain.carry(Message(photo, other.pk), Sent())
    assert outcome(photo, users, absent=[42]) == ALL_ONCE
    assert "serving its author's followers" in caplog.text


def test_a_fanout_whose_state_was_lost_with_redis_begins_again(
    author: Any, redis: Any, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "BATCH_SIZE": 10}
    fill(author.pk, 35)
    photo = publish(author)
    carry(photo, author)
    redis.flushall()
    users = fill(author.pk, 35)
    cursor = 0
    while messages := carry(photo, author, cursor):
        cursor = messages[0][2]
    assert outcome(photo, users) == ALL_ONCE
    assert settled(photo) == "done"


def test_fanouts_command_shows_bars_or_that_there_are_none(
    author: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("fanouts")
    assert "No fan-out is under way." in capsys.readouterr().out
    fill(author.pk, 35)
    photo = publish(author)
    call_command("fanouts")
    shown = capsys.readouterr().out
    assert f"photo {photo}" in shown
    assert "waiting" in shown


def test_a_worker_that_starts_serves_what_its_predecessor_left(
    author: Any, workers: Any, broker: Any
) -> None:
    from tests.checker import wait_for_end

    users = fill(author.pk, 5)
    photo = publish(author)
    broker.flushdb()  # its message is lost
    workers()
    assert wait_for_end(photo, seconds=30) == "done"
    assert outcome(photo, users) == ALL_ONCE


def test_tasks_have_their_names_and_stay_late() -> None:
    assert tasks.insert_into_homefeed.name == "mydjangoapp.tasks.insert_into_homefeed"
    assert tasks.insert_into_homefeed.acks_late and tasks.insert_into_homefeed.reject_on_worker_lost


def test_a_photo_deleted_while_redis_is_away_is_not_carried_on(
    author: Any, settings: Any, redis: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "BATCH_SIZE": 10}
    users = fill(author.pk, 35)
    photo = publish(author)
    carry(photo, author)
    FanOut.objects.filter(photo_id=photo).update(state="cancelled")  # Redis could not be told
    redis.hincrbyfloat(keys.fanout(author.pk, photo), "synced", -2)
    assert carry(photo, author, 10) == []
    assert not redis.exists(keys.fanout(author.pk, photo), keys.running(author.pk))
    assert outcome(photo, users[10:]).lost == 25


def test_a_refusing_redis_does_not_multiply_messages(
    author: Any, redis: Any, broker: Any, workers: Any
) -> None:
    users = fill(author.pk, 5)
    redis.set(keys.fanout(author.pk, photo := publish(author)), "of a wrong type")
    worker = workers()
    said = "Operation against a key holding the wrong kind of value"
    noted = FanOut.objects.filter(photo_id=photo, last_error__contains=said)
    wait_until(noted.exists, seconds=20, what="the error is in the ledger")
    assert said in worker.log.read_text()
    redis.delete(keys.fanout(author.pk, photo))
    wait_until(lambda: state(photo) == "done", seconds=40, what="it heals")
    assert outcome(photo, users) == ALL_ONCE


def test_a_photo_whose_fanout_cannot_be_written_is_not_saved(
    author: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody has opened a transaction: it would be carried to nobody."""

    def fail(photo: Photo) -> None:
        raise RuntimeError("the database is locked")

    monkeypatch.setattr(ledger, "open_for", fail)
    with pytest.raises(RuntimeError):
        Photo.objects.create(user=author, description="from a shell")
    assert not Photo.objects.exists()


def test_a_photo_deleted_while_its_last_link_runs_is_taken_out_again(
    author: Any, redis: Any, workers: Any
) -> None:
    users = fill(author.pk, 5)
    photo = publish(author)
    FanOut.objects.filter(photo_id=photo).update(state="cancelled")  # Redis could not be told,
    Photo.objects.filter(pk=photo)._raw_delete("default")
    delivery.begin(Message(photo, author.pk), Beginning())  # and a chain goes on
    tasks.insert_into_homefeed(photo, author.pk, 10_000)
    assert outcome(photo, users) == ALL_ONCE, "the chain did not look"
    workers()
    wait_until(lambda: outcome(photo, [], absent=users) == ALL_ONCE, seconds=20, what="it is out again")


def test_readyz_names_a_chain_that_stands_still(author: Any, client: Any) -> None:
    photo = publish(author)
    FanOut.objects.filter(photo_id=photo).update(
        state="running", heartbeat_at=timezone.now() - timedelta(seconds=60)
    )
    assert "has stood still for 60 s" in client.get("/readyz/").json()["fanouts"]


@pytest.fixture
def ids_begin_again(transactional_db: None) -> Iterator[None]:
    """SQLite goes on above the highest id that there ever was."""
    yield
    if database.vendor == "sqlite":
        with database.cursor() as cursor:
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = 'mydjangoapp_photo'")


def test_a_photo_whose_id_lua_cannot_count_with_is_refused(
    author: Any, redis: Any, ids_begin_again: None
) -> None:
    """Above 2**53 ids came out of the scripts changed."""
    largest = 2**53 - 1
    users = fill(author.pk, 3)
    photo = Photo.objects.create(id=largest, user=author, description="the last of all")
    carry(photo.pk, author)
    assert outcome(photo.pk, users) == ALL_ONCE
    with pytest.raises(PhotoIdTooLarge, match="Let ids grow from below"):
        Photo.objects.create(id=largest + 1, user=author, description="one too many")
    assert Photo.objects.count() == FanOut.objects.count() == 1, "nothing is half done"
    Photo.objects.bulk_create([Photo(id=largest + 2, user=author, description="past everything")])
    carry(largest + 2, author)
    row = FanOut.objects.get(photo_id=largest + 2)
    assert (row.state, "Let ids grow" in row.last_error) == ("failed", True)
    [problem] = photo_ids_are_exact(None, databases=["default"])
    assert (problem.id, problem.level) == ("mydjangoapp.E004", ERROR)
    assert ids_of(logged_in(author).get("/feed/")) == [largest + 2, largest], "from SQL"
