"""Rescue, settling, giving up and beginning again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from devtools.servers import wait_until
from mydjangoapp import tasks
from mydjangoapp.fanout import chain, progress, rescue, settling
from mydjangoapp.homefeed import delivery, keys
from mydjangoapp.homefeed.delivery import Beginning, Message, Verdict
from mydjangoapp.models import FanOut, Photo
from tests.checker import ALL_ONCE, fill, has_ended, outcome, state
from tests.feeds import logged_in
from tests.ledger import Sent, carry, followers_client, give_up, grow_old, publish, settled

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")


def test_rescue_enqueues_what_waits_longer_than_the_lease(author: Any) -> None:
    fill(author.pk, 5)
    photo, young = publish(author), publish(author)
    grow_old(photo, 4)
    sent = Sent()
    assert rescue.rescue(sent).enqueued == 1
    assert sent == [(photo, author.pk, 0)]
    assert rescue.rescue(Sent()).enqueued == 0, "claimed: not again before the next lease"
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
    assert rescue.rescue(sent).enqueued == 1
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
    delivery.begin(Message(photo, author.pk), Beginning())
    FanOut.objects.filter(photo_id=photo).update(
        state="running", heartbeat_at=timezone.now() - timedelta(seconds=60)
    )
    assert rescue.rescue(Sent()).enqueued == 0


def test_a_fanout_that_kills_its_worker_each_time_is_given_up(
    author: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_ATTEMPTS": 3, "SLICE_SIZE": 4}
    fill(author.pk, 25)
    photo = publish(author)

    class Died(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Died

    monkeypatch.setattr(delivery, "serve", die)  # the process would be gone here
    for _ in range(1 + 3):  # the first one has served a slice: that is progress
        with pytest.raises(Died):
            carry(photo, author, redelivered=True)
    carry(photo, author, redelivered=True)
    row = FanOut.objects.get(photo_id=photo)
    assert (row.state, row.attempts) == ("failed", 3)
    assert "3 starts without progress" in row.last_error
    assert "failed" in caplog.text
    assert not followers_client().exists(keys.running(author.pk))


def test_a_task_that_tries_again_while_a_server_is_away_is_not_a_start_without_progress(
    author: Any, redis: Any, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_ATTEMPTS": 3, "SLICE_SIZE": 4}
    fill(author.pk, 25)
    photo = publish(author)
    again = Message(photo, author.pk, retried=True)
    delivery.begin(again, Beginning())
    assert redis.hget(keys.fanout(author.pk, photo), "guard") == b"0", "nobody can have it"
    for _ in range(5):
        assert delivery.claim(again).granted
    assert redis.hget(keys.fanout(author.pk, photo), "attempts") == b"0", (
        "a slice was served: that is progress"
    )
    for _ in range(3):
        assert delivery.claim(Message(photo, author.pk, redelivered=True)).granted
    assert delivery.claim(Message(photo, author.pk, redelivered=True)).verdict is Verdict.EXHAUSTED


def test_rescue_command_says_how_many(author: Any, capsys: pytest.CaptureFixture[str]) -> None:
    photo = publish(author)
    grow_old(photo, 60)
    call_command("rescue_fanouts")
    assert "1 fan-outs enqueued again" in capsys.readouterr().out


def test_beat_sends_the_rescue(broker: Any) -> None:
    from devtools.servers import celery_beat
    from tests import servers

    log = servers.DIRECTORY / "log" / "beat.log"
    with celery_beat(log, servers.ENVIRON):
        wait_until(lambda: bool(broker.llen("celery")), seconds=30, what="beat has sent a task")
    assert b"mydjangoapp.tasks.rescue_fanouts" in broker.lindex("celery", 0)


def test_a_fanout_is_done_only_when_redis_has_held_its_end_for_a_while(
    author: Any, redis: Any, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "SETTLE_SECONDS": 50}
    photo = publish(author)
    fill(author.pk, 5)
    carry(photo, author)
    row = FanOut.objects.get(photo_id=photo)
    assert (row.state, row.is_open) == ("waiting", True), (
        "a small fan-out is not written before it is settled"
    )
    shown = progress.of(row, Photo.objects.get(pk=photo))
    assert (shown.state, shown.reached, shown.finished_at) == ("running", 5, None)
    found = settling.settle(Sent(), Sent())
    assert (found.author_ids, found.more, found.later) == ([], False, True)
    assert state(photo) == "waiting"
    assert settled(photo) == "done"
    row.refresh_from_db()
    assert (row.reached, row.total, row.attempts) == (5, 5, 1)
    assert row.started_at and row.finished_at and row.started_at <= row.finished_at
    assert 0 < redis.ttl(keys.fanout(author.pk, photo)) <= 60
    assert not redis.exists(keys.ended())
    assert settling.settle(Sent(), Sent()) == settling.Settled()


def test_an_end_that_redis_has_lost_in_a_crash_is_made_up_for(author: Any, redis: Any, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "BATCH_SIZE": 10, "SLICE_SIZE": 5}
    users = fill(author.pk, 20)
    photo = publish(author)
    carry(photo, author)
    before = {key: redis.dump(key) for key in redis.keys("*")}
    carry(photo, author, 10)
    assert has_ended(photo)
    redis.flushdb()  # and the AOF ends before the second batch
    for key, value in before.items():
        redis.restore(key, 0, value)
    assert outcome(photo, users).lost == 10
    sent = Sent()
    settling.settle(Sent(), sent)
    assert state(photo) == "waiting", "it has not ended"
    grow_old(photo, 4)
    assert rescue.rescue(sent).enqueued == 1
    assert sent == [(photo, author.pk, 10)]
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
    redis.delete(*(keys.fanout(author.pk, photo) for photo in photos))
    grow_old(photos[0], 4)
    FanOut.objects.update(created_at=timezone.now() - timedelta(seconds=4))
    redis.hset(keys.queue(), "front", redis.time()[0] + 60)  # a message sent later has been taken

    def take_up(_: int) -> Sent:
        sent = Sent()
        rescue.rescue(sent)
        database.close()
        return sent

    with ThreadPoolExecutor(4) as threads:
        sent = [message for found in threads.map(take_up, range(4)) for message in found]
    assert sorted(sent) == [(photo, author.pk, 0) for photo in photos]


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
    assert "1 fan-out was begun again" in answer.content.decode()
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
    redis.set(keys.fanout(author.pk, bad), "of a wrong type")
    assert rescue.rescue(Sent()).enqueued == 2
    carry(good, author)
    redis.zadd(keys.ended(), {f"{bad}:{author.pk}": 1})
    assert settled(good) == "done"
    assert state(bad) == "waiting"


def test_a_fanout_that_redis_keeps_refusing_is_given_up(
    author: Any, redis: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_ATTEMPTS": 2}
    photo = publish(author)
    redis.set(keys.fanout(author.pk, photo), "of a wrong type")
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


@pytest.mark.parametrize("is_named", [True, False], ids=["author in the ledger", "row of before"])
def test_what_redis_holds_of_a_fanout_goes_with_its_photo(
    author: Any, settings: Any, redis: Any, is_named: bool
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "BATCH_SIZE": 1}
    fill(author.pk, 3)
    photo = publish(author)
    sent = carry(photo, author)
    grow_old(photo, 60)
    if not is_named:
        FanOut.objects.update(author=None)
    Photo.objects.filter(pk=photo)._raw_delete("default")  # past every signal
    rescue.rescue(Sent())
    assert state(photo) == "cancelled"
    if not is_named:
        assert redis.exists(keys.fanout(author.pk, photo)), "nobody knows whose it is"
        redis.hset(keys.fanout(author.pk, photo), "synced", 0)
        assert chain.carry(Message(*sent[0]), Sent()) is False, "its next link comes upon it"
    assert not redis.exists(keys.fanout(author.pk, photo))
    assert redis.scard(keys.running(author.pk)) == 0
