"""The ledger: rescue, attempts, late and unknown photos, progress."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from mydjangoapp import fanouts, rescue, standing, tasks, uploads
from mydjangoapp.homefeed import delivery, keys
from mydjangoapp.models import FanOut, Photo
from proj.servers import wait_until
from tests.checker import ALL_ONCE, fill, outcome, state
from tests.feeds import logged_in

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")


class Sent(list[tuple[int, Any, int]]):
    """Where messages would go."""

    def __call__(self, photo: int, user: Any, cursor: int) -> bool:
        self.append((photo, user, cursor))
        return True


def publish(author: Any) -> int:
    return int(uploads.publish(author, description="x", photo_url="https://example.com/x.jpg").pk)


def carry(photo: int, author: Any, cursor: int = 0, *, redelivered: bool = False) -> Sent:
    sent = Sent()
    fanouts.carry(photo, author.pk, cursor, redelivered=redelivered, enqueue=sent)
    return sent


def settled(photo: int) -> str:
    """The state, when the time to settle has passed."""
    followers_client().hincrbyfloat(keys.fanout(photo), "ended", -60)
    rescue.settle(Sent())
    return state(photo)


def grow_old(photo: int, seconds: float) -> None:
    """As if its last sign of life had been so long ago, in SQL and in Redis."""
    then = timezone.now() - timedelta(seconds=seconds)
    FanOut.objects.filter(photo_id=photo).update(created_at=then)
    FanOut.objects.filter(photo_id=photo).exclude(heartbeat_at=None).update(heartbeat_at=then)
    client = followers_client()
    if client.exists(keys.fanout(photo)):
        client.hincrbyfloat(keys.fanout(photo), "beat", -seconds)


def followers_client() -> Any:
    from mydjangoapp.homefeed import connection

    return connection.client()


def test_a_photo_without_a_fanout_row_gets_one(author: Any) -> None:
    users = fill(author.pk, 5)
    [photo] = Photo.objects.bulk_create([Photo(user=author, description="imported")])
    assert carry(photo.pk, author) == []
    assert settled(photo.pk) == "done"
    assert outcome(photo.pk, users) == ALL_ONCE


def test_an_unknown_photo_reaches_nobody_and_leaves_nothing(author: Any, redis: Any) -> None:
    fill(author.pk, 5)
    assert carry(987_654, author) == []
    assert not redis.exists(keys.fanout(987_654))
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
    fanouts.carry(photo, other.pk, 0, redelivered=False, enqueue=Sent())
    assert outcome(photo, users, absent=[42]) == ALL_ONCE
    assert "serving its author's followers" in caplog.text


def test_rescue_enqueues_what_waits_longer_than_the_lease(author: Any) -> None:
    fill(author.pk, 5)
    photo, young = publish(author), publish(author)
    grow_old(photo, 4)
    sent = Sent()
    assert rescue.rescue(sent) == 1
    assert sent == [(photo, author.pk, 0)]
    assert rescue.rescue(Sent()) == 0, "claimed: not again before the next lease"
    assert state(young) == "waiting"


def test_rescue_goes_on_where_redis_says_and_counts_attempts_without_progress(
    author: Any, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "BATCH_SIZE": 10}
    users = fill(author.pk, 35)
    photo = publish(author)
    assert carry(photo, author) == [(photo, author.pk, 10)]  # and this message is lost
    grow_old(photo, 4)
    sent = Sent()
    assert rescue.rescue(sent) == 1
    assert sent == [(photo, author.pk, 10)]
    cursor = 10
    while messages := carry(photo, author, cursor):
        cursor = messages[0][2]
    assert outcome(photo, users) == ALL_ONCE
    assert settled(photo) == "done"
    row = FanOut.objects.get(photo_id=photo)
    assert (row.state, row.reached, row.total) == ("done", 35, 35)


def test_rescue_leaves_a_chain_alone_that_lives_in_redis(author: Any) -> None:
    fill(author.pk, 5)
    photo = publish(author)
    delivery.claim(photo, author.pk, 0, redelivered=False, create=True)
    FanOut.objects.filter(photo_id=photo).update(
        state="running", heartbeat_at=timezone.now() - timedelta(seconds=60)
    )
    assert rescue.rescue(Sent()) == 0


def test_a_fanout_that_kills_its_worker_each_time_is_given_up(
    author: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_ATTEMPTS": 3}
    fill(author.pk, 5)
    photo = publish(author)

    class Died(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Died

    monkeypatch.setattr(delivery, "serve", die)  # the process would be gone here
    for _ in range(3):
        with pytest.raises(Died):
            carry(photo, author, redelivered=True)
    carry(photo, author, redelivered=True)
    row = FanOut.objects.get(photo_id=photo)
    assert row.state == "failed"
    assert "3 starts without progress" in row.last_error
    assert "failed" in caplog.text
    assert not followers_client().exists(keys.running(author.pk))


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


def test_rescue_command_says_how_many(author: Any, capsys: pytest.CaptureFixture[str]) -> None:
    photo = publish(author)
    grow_old(photo, 60)
    call_command("rescue_fanouts")
    assert "1 fan-outs enqueued again" in capsys.readouterr().out


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


def test_beat_sends_the_rescue(broker: Any) -> None:
    from proj.servers import celery_beat, wait_until
    from tests import servers

    log = servers.DIRECTORY / "log" / "beat.log"
    with celery_beat(log, servers.ENVIRON):
        wait_until(lambda: bool(broker.llen("celery")), seconds=30, what="beat has sent a task")
    assert b"mydjangoapp.tasks.rescue_fanouts" in broker.lindex("celery", 0)


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
    redis.hincrbyfloat(keys.fanout(photo), "synced", -2)
    assert carry(photo, author, 10) == []
    assert not redis.exists(keys.fanout(photo), keys.running(author.pk))
    assert outcome(photo, users[10:]).lost == 25


def test_a_refusing_redis_does_not_multiply_messages(
    author: Any, redis: Any, broker: Any, workers: Any
) -> None:
    users = fill(author.pk, 5)
    redis.set(keys.fanout(photo := publish(author)), "of a wrong type")
    worker = workers()
    said = "Operation against a key holding the wrong kind of value"
    noted = FanOut.objects.filter(photo_id=photo, last_error__contains=said)
    wait_until(noted.exists, seconds=20, what="the error is in the ledger")
    assert said in worker.log.read_text()
    redis.delete(keys.fanout(photo))
    wait_until(lambda: state(photo) == "done", seconds=40, what="it heals")
    assert outcome(photo, users) == ALL_ONCE


def test_a_fanout_is_done_only_when_redis_has_held_its_end_for_a_while(
    author: Any, redis: Any, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "SETTLE_SECONDS": 50}
    photo = publish(author)
    fill(author.pk, 5)
    carry(photo, author)
    row = FanOut.objects.get(photo_id=photo)
    assert (row.state, row.reached, row.is_open) == ("running", 5, True)
    assert standing.standing(row, row.created_at).finished_at is None
    found = rescue.settle(Sent())
    assert (found.authors, found.reopened, found.more) == ([], 0, True)
    assert settled(photo) == "done"
    assert redis.ttl(keys.fanout(photo)) > 0
    assert rescue.settle(Sent()).more is False


def test_an_end_that_redis_has_lost_in_a_crash_is_made_up_for(author: Any, redis: Any, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "BATCH_SIZE": 10, "SLICE_SIZE": 5}
    users = fill(author.pk, 20)
    photo = publish(author)
    carry(photo, author)
    before = {key: redis.dump(key) for key in redis.keys("*")}
    carry(photo, author, 10)
    assert FanOut.objects.get(photo_id=photo).finished_at is not None
    redis.flushdb()  # and the AOF ends before the second batch
    for key, value in before.items():
        redis.restore(key, 0, value)
    assert outcome(photo, users).lost == 10
    sent = Sent()
    assert rescue.settle(sent).reopened == 1
    assert sent == [(photo, author.pk, 10)]
    assert FanOut.objects.get(photo_id=photo).finished_at is None
    carry(*sent[0][:1], author, sent[0][2])
    assert settled(photo) == "done"
    assert outcome(photo, users) == ALL_ONCE


def test_a_lost_end_is_taken_up_once_by_any_number_of_rescuers(author: Any, redis: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connection as database

    fill(author.pk, 5)
    photos = [publish(author) for _ in range(10)]
    for photo in photos:
        carry(photo, author)
    redis.delete(*(keys.fanout(photo) for photo in photos))

    def settle(_: int) -> Sent:
        sent = Sent()
        rescue.settle(sent)
        database.close()
        return sent

    with ThreadPoolExecutor(4) as threads:
        sent = [message for found in threads.map(settle, range(4)) for message in found]
    assert sorted(sent) == [(photo, author.pk, 0) for photo in photos]


def give_up(photo: int) -> None:
    FanOut.objects.filter(photo_id=photo).update(
        state="failed", attempts=11, last_error="gave up", finished_at=timezone.now()
    )
    delivery.cancel(photo)


def test_a_failed_fanout_that_is_retried_goes_on_without_doubles(author: Any, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "BATCH_SIZE": 10}
    users = fill(author.pk, 20)
    photo, other = publish(author), publish(author)
    carry(photo, author)
    give_up(photo)
    sent = Sent()
    assert rescue.retry(sent, [photo, other]) == [photo], "only what failed"
    assert sent == [(photo, author.pk, 0)]
    row = FanOut.objects.get(photo_id=photo)
    assert (row.state, row.attempts, row.finished_at) == ("running", 0, None)
    cursor = 0
    while messages := carry(photo, author, cursor):
        cursor = messages[0][2]
    assert outcome(photo, users) == ALL_ONCE
    assert settled(photo) == "done"
    assert rescue.retry(Sent()) == []


def test_command_retries_all_or_those_named(author: Any, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [publish(author) for _ in range(3)]
    for photo in photos:
        give_up(photo)
    call_command("fanouts")
    assert "3 failed" in capsys.readouterr().out
    call_command("fanouts", "--retry", str(photos[0]))
    assert "1 fan-outs begun again" in capsys.readouterr().out
    with pytest.raises(CommandError, match=rf"Not failed, or not there: {photos[0]}, 987654\."):
        call_command("fanouts", "--retry", "987654", str(photos[0]))
    call_command("fanouts", "--retry")
    assert "2 fan-outs begun again" in capsys.readouterr().out
    assert {state(photo) for photo in photos} == {"running"}


def test_staff_retries_over_http(author: Any, make_users: Any) -> None:
    photo = publish(author)
    give_up(photo)
    [staff] = make_users(1)
    url = f"/photos/{photo}/fanout/retry/"
    assert logged_in(author).post(url).status_code == 403
    staff.is_staff = True
    client = logged_in(staff)
    answer = client.post(url)
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    again = client.post(url)
    assert again.status_code == 409
    assert "failed" in again.json()["detail"]
    assert client.post("/photos/987654/fanout/retry/").status_code == 404


def test_admin_retries(author: Any, admin_client: Any) -> None:
    photo, other = publish(author), publish(author)
    give_up(photo)
    chosen = FanOut.objects.values_list("pk", flat=True)
    form = {"action": "begin_again", "_selected_action": list(chosen)}
    answer = admin_client.post("/admin/mydjangoapp/fanout/", form, follow=True)
    assert "1 fan-outs begun again" in answer.content.decode()
    assert (state(photo), state(other)) == ("running", "waiting")


def test_readyz_names_what_waits_and_what_was_given_up(author: Any, client: Any) -> None:
    assert client.get("/readyz/").json()["fanouts"] == "ok"
    photo = publish(author)
    grow_old(photo, 60)
    found = client.get("/readyz/")
    assert found.status_code == 200, "this process can serve all the same"
    assert "has waited for 60 s" in found.json()["fanouts"]
    give_up(photo)
    assert "1 failed" in client.get("/readyz/").json()["fanouts"]


def test_settle_messages_do_not_multiply(author: Any, broker: Any, settings: Any) -> None:
    """However many fan-outs end, and however long: one message is on its way at a time."""
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "SETTLE_SECONDS": 50}
    fill(author.pk, 5)
    for _ in range(10):
        tasks.insert_into_homefeed(publish(author), author.pk)
        tasks.settle_fanouts()
    sent = [message for message in broker.lrange("celery", 0, -1) if b"settle_fanouts" in message]
    assert len(sent) == 1


def test_rescue_messages_that_waited_behind_a_backlog_are_done_once(
    author: Any, redis: Any, broker: Any
) -> None:
    photo = publish(author)
    broker.flushall()
    grow_old(photo, 60)
    tasks.rescue_fanouts()
    assert broker.llen("celery") == 1
    grow_old(photo, 60)
    tasks.rescue_fanouts()
    assert broker.llen("celery") == 1, "a moment ago"
    redis.delete(keys.rescuing())
    tasks.rescue_fanouts()
    assert broker.llen("celery") == 2


def test_one_bad_key_stops_neither_rescue_nor_settling_of_the_others(author: Any, redis: Any) -> None:
    fill(author.pk, 5)
    bad, good = publish(author), publish(author)
    for photo in (bad, good):
        grow_old(photo, 60)
    redis.set(keys.fanout(bad), "of a wrong type")
    assert rescue.rescue(Sent()) == 2
    carry(good, author)
    ended = timezone.now() - timedelta(minutes=2)
    FanOut.objects.filter(photo_id=bad).update(state="running", finished_at=ended)
    assert settled(good) == "done"
    assert state(bad) == "running"


def test_a_fanout_that_redis_keeps_refusing_is_given_up(
    author: Any, redis: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_ATTEMPTS": 2}
    photo = publish(author)
    redis.set(keys.fanout(photo), "of a wrong type")
    task = tasks.insert_into_homefeed
    for _ in range(3):
        task.push_request(retries=tasks.RETRIES, called_directly=False)
        try:
            task.run(photo, author.pk)
        finally:
            task.pop_request()
    row = FanOut.objects.get(photo_id=photo)
    assert (row.state, row.attempts) == ("failed", 3)
    assert "wrong kind of value" in row.last_error
    assert "Redis refused it 3 times" in caplog.text


def test_a_failed_fanout_of_a_deleted_photo_is_cancelled(author: Any) -> None:
    photo, gone = publish(author), publish(author)
    for one in (photo, gone):
        give_up(one)
    Photo.objects.get(pk=photo).delete()
    assert state(photo) == "cancelled"
    Photo.objects.filter(pk=gone)._raw_delete("default")  # past every signal
    assert rescue.retry(Sent()) == []
    assert state(gone) == "cancelled"


def test_a_photo_whose_fanout_cannot_be_written_is_not_saved(
    author: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody has opened a transaction: it would be carried to nobody."""

    def fail(photo: Photo) -> None:
        raise RuntimeError("the database is locked")

    monkeypatch.setattr(fanouts, "open_for", fail)
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
    delivery.claim(photo, author.pk, 0, redelivered=False, create=True)  # and a chain goes on
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
