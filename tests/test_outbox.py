"""A change of the graph that was committed reaches Redis, whatever happened to the first attempt."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from devtools.servers import ROOT, Server, free_port, wait_until
from mydjangoapp import graph, outbox, tasks, uploads
from mydjangoapp.connections.patience import Budget
from mydjangoapp.exceptions import FeedsUnavailable
from mydjangoapp.homefeed import keys, turns, verify
from mydjangoapp.models import FanOut, Follow, PendingChange
from tests import servers
from tests.conftest import connect
from tests.feeds import carry, ids_of, logged_in, publish, truth_of
from tests.ledger import carry as ledger_carry

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")
People = Callable[[int], list[Any]]


@pytest.fixture
def redis_away(settings: Any) -> Any:
    """Switches the feeds' Redis off and on again."""
    there = settings.MYDJANGOAPP

    def switch(away: bool) -> None:
        settings.MYDJANGOAPP = {**there, "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"} if away else there

    return switch


def settle() -> int:
    """Lets the time pass that a change needs to settle, and catches up."""
    PendingChange.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    client: Any = connect(servers.REDIS)
    for row in client.zrange(receipts_in(client), 0, -1):
        client.zincrby(receipts_in(client), -60, row)
    return outbox.catch_up()


def receipts_in(redis: Any) -> str:
    """The key of the receipts; on a cluster its name ends with the lives of the nodes."""
    return next((str(name.decode()) for name in redis.keys(f"{keys.receipts()}*")), keys.receipts())


def followers_of(redis: Any, author: Any) -> list[Any]:
    to_id = author._meta.pk.to_python
    return [to_id(user.decode()) for user in redis.lrange(keys.followers(author.pk), 0, -1)]


def test_changes_made_while_redis_is_away_arrive_when_it_is_back(
    make_users: People, redis: Any, redis_away: Any
) -> None:
    me, one, two, muted = make_users(4)
    for author in (one, muted):
        graph.follow(me, author)
    photos = [publish(author)[0] for author in (one, two, muted)]
    client = logged_in(me)
    assert ids_of(client.get("/feed/")) == [photos[2], photos[0]]
    redis_away(True)
    graph.follow(me, two)
    graph.unfollow(me, one)
    graph.mute(me, muted)
    redis_away(False)
    is_kept = not database.settings_dict["ATOMIC_REQUESTS"]  # else SQLite has been asked, and says it at once
    assert ids_of(client.get("/feed/")) == ([photos[2], photos[0]] if is_kept else []), "not yet"
    assert settle() == 3
    assert settle() == 0, "each once, and then forgotten"
    assert not redis.exists(receipts_in(redis))
    assert ids_of(client.get("/feed/")) == [photos[1]] == truth_of(me)
    assert not PendingChange.objects.exists()


def test_a_process_that_dies_right_after_its_commit_loses_nothing(
    make_users: People, redis: Any, worker: Server
) -> None:
    me, author, first = make_users(3)
    graph.follow(first, author)
    code = (
        "import django, os; django.setup()\n"
        "from mydjangoapp import graph\nfrom mydjangoapp.homefeed import followers\n"
        "followers.apply = lambda *_: os.kill(os.getpid(), 9)\n"
        f"graph.follow({str(me.pk)!r}, {str(author.pk)!r})\n"
    )
    died = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **servers.ENVIRON})
    assert died.returncode == -9
    assert Follow.objects.filter(follower=me).exists()
    assert followers_of(redis, author) == [first.pk]
    wait_until(
        lambda: me.pk in followers_of(redis, author), seconds=20, what="the worker brings the follow in"
    )


def test_what_redis_lost_in_a_crash_is_brought_in_again(make_users: People, redis: Any) -> None:
    me, author, first = make_users(3)
    graph.follow(first, author)
    photos = publish(author, 2)
    logged_in(me).get("/feed/")
    graph.follow(me, author)
    redis.rpop(keys.followers(author.pk))  # as if the AOF had ended before the follow
    redis.hdel(keys.marks(author.pk), str(me.pk))
    redis.delete(receipts_in(redis))
    redis.rpush(keys.homefeed(me.pk), 1)
    redis.set(keys.floor(me.pk), 0)
    assert settle() == 2
    assert followers_of(redis, author) == [first.pk, me.pk]
    assert ids_of(logged_in(me).get("/feed/")) == photos[::-1]


def test_what_is_lost_again_after_it_was_brought_in_is_brought_in_again(
    make_users: People, redis: Any, redis_away: Any
) -> None:
    me, author, first = make_users(3)
    graph.follow(first, author)
    redis_away(True)
    graph.follow(me, author)
    redis_away(False)
    lists = [keys.followers(author.pk), keys.marks(author.pk), receipts_in(redis)]
    before = {key: redis.dump(key) for key in lists}
    assert settle() == 1, "the one that was there is forgotten, the other applied"
    assert followers_of(redis, author) == [first.pk, me.pk]
    for key, value in before.items():  # a crash takes it back
        redis.delete(key)
        if value:
            redis.restore(key, 0, value)
    assert settle() == 1
    assert followers_of(redis, author) == [first.pk, me.pk]


def test_a_receipt_counts_from_when_it_was_given(make_users: People, redis: Any) -> None:
    """Not from the row's age: the transaction may have been long, or Redis slow."""
    me, author, first = make_users(3)
    graph.follow(first, author)
    graph.follow(me, author)
    PendingChange.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    redis.zadd(
        receipts_in(redis), {row: redis.time()[0] + 10 for row in redis.zrange(receipts_in(redis), 0, -1)}
    )
    assert outbox.catch_up() == 0
    assert PendingChange.objects.count() == 2, "kept: Redis may lose both yet"
    redis.delete(receipts_in(redis))
    redis.delete(keys.marks(author.pk))
    redis.rpop(keys.followers(author.pk))
    assert settle() == 2
    assert followers_of(redis, author) == [first.pk, me.pk]


def test_a_receipt_from_before_its_row_is_another_rows(make_users: People, redis: Any) -> None:
    """Ids may begin again: SQLite does that when a table is made anew."""
    me, author = make_users(2)
    graph.follow(me, author)
    [receipt] = redis.zrange(receipts_in(redis), 0, -1)
    redis.delete(keys.marks(author.pk), keys.followers(author.pk), keys.state(author.pk))
    redis.rpush(keys.followers(author.pk), "another")
    PendingChange.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    redis.zadd(receipts_in(redis), {receipt: redis.time()[0] - 7_200})
    assert outbox.catch_up() == 1, "applied, not forgotten"
    assert str(me.pk).encode() in redis.lrange(keys.followers(author.pk), 0, -1)


def test_a_change_that_redis_refuses_does_not_stop_the_others(make_users: People, redis: Any) -> None:
    me, bad, good, other = make_users(4)
    graph.follow(other, good)
    PendingChange.objects.all().delete()
    redis.delete(keys.followers(bad.pk))
    redis.set(keys.followers(bad.pk), "of a wrong type")
    graph.follow(me, bad)
    redis.config_set("maxmemory", 1)  # both are refused on commit
    graph.follow(me, good)
    redis.config_set("maxmemory", 0)
    assert settle() == 1
    assert followers_of(redis, good) == [other.pk, me.pk]
    assert [row.author_id for row in PendingChange.objects.order_by("id")] == [bad.pk, good.pk]
    redis.delete(keys.followers(bad.pk))
    assert settle() == 1
    settle()
    assert not PendingChange.objects.exists()


@pytest.fixture
def cache_away(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Takes the cache away and brings it back."""
    from django.core.cache import cache

    def switch(away: bool) -> None:
        def refuse(*_: Any, **__: Any) -> Any:
            raise ConnectionError("the cache is away")

        for name in ("get_many", "set_many"):
            if away:
                monkeypatch.setattr(cache, name, refuse, raising=False)
            else:
                monkeypatch.undo()

    return switch


def test_what_changes_while_the_cache_is_away_is_shown_when_it_is_back(
    make_users: People, cache_away: Any, redis: Any
) -> None:
    me, author = make_users(2)
    graph.follow(me, author)
    first, second = publish(author, 2)
    client = logged_in(me)
    for _ in range(2):
        assert ids_of(client.get("/feed/")) == [second, first]
    cache_away(True)
    assert logged_in(author).delete(f"/photos/{first}/").status_code == 204
    assert client.put(f"/photos/{second}/like/").status_code == 204
    author.first_name = "Ada"
    author.save()
    cache_away(False)
    settle()
    [photo] = client.get("/feed/").json()["results"]
    assert (photo["id"], photo["like_count"], photo["liked"]) == (second, 1, True)
    assert photo["author"]["name"] == "Ada"
    settle()
    assert not PendingChange.objects.exists()


def test_likes_given_while_redis_is_away_are_shown_when_it_is_back(
    make_users: People, redis_away: Any
) -> None:
    me, author = make_users(2)
    graph.follow(me, author)
    [photo] = publish(author)
    client = logged_in(me)
    assert client.get("/feed/").json()["results"][0]["liked"] is False
    redis_away(True)
    assert client.put(f"/photos/{photo}/like/").status_code == 204
    redis_away(False)
    settle()
    assert client.get("/feed/").json()["results"][0]["liked"] is True


def everything(redis: Any) -> dict[bytes, bytes]:
    """All of Redis, without a cluster's counters of how often it was asked."""
    return {key: redis.dump(key) for key in redis.keys("*") if not key.startswith(b"settled:")}


def test_a_change_that_has_arrived_does_nothing_the_second_time(make_users: People, redis: Any) -> None:
    me, author, first = make_users(3)
    graph.follow(first, author)
    graph.follow(me, author)
    publish(author)
    logged_in(me).get("/feed/")
    before = everything(redis)
    receipts = receipts_in(redis).encode()
    assert settle() == 0
    assert everything(redis) == {key: value for key, value in before.items() if key != receipts}
    assert not PendingChange.objects.exists()


def test_fresh_changes_are_left_to_settle(make_users: People) -> None:
    graph.follow(*make_users(2))
    assert outbox.catch_up() == 0
    assert PendingChange.objects.count() == 1


def test_a_rolled_back_change_leaves_nothing(make_users: People, redis: Any) -> None:
    me, author = make_users(2)

    def follow_and_fail() -> None:
        with transaction.atomic():
            graph.follow(me, author)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        follow_and_fail()
    assert not PendingChange.objects.exists()
    assert not redis.exists(keys.followers(author.pk))


def test_an_import_is_a_row_for_each_thousand(make_users: People, redis: Any) -> None:
    [author], others = make_users(1), make_users(1_500)
    graph.follow_many(others, author)
    assert PendingChange.objects.count() == 2
    redis.flushdb()
    redis.rpush(keys.followers(author.pk), str(author.pk))
    assert settle() == 2
    assert set(followers_of(redis, author)) - {author.pk} == {user.pk for user in others}


def test_what_cannot_be_applied_now_is_kept(make_users: People, redis_away: Any) -> None:
    graph.follow(*make_users(2))
    redis_away(True)
    with pytest.raises(FeedsUnavailable):
        settle()
    assert PendingChange.objects.count() == 1


def test_catching_up_during_an_import_leaves_each_follower_once(
    make_users: People, redis: Any, settings: Any
) -> None:
    [author], others = make_users(1), make_users(12_000)
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "SETTLE_SECONDS": 0.001}
    ended = Event()

    def catch_up_all_the_time() -> None:
        while not ended.wait(0.05):
            outbox.catch_up()
        database.close()

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(catch_up_all_the_time)
        graph.follow_many(others, author)
        ended.set()
        running.result()
    outbox.catch_up()
    assert set(followers_of(redis, author)) == {user.pk for user in others}
    assert verify.follower_list(author.pk) == [], "each of them lives once"


def die_in(name: str, code: str) -> None:
    """Runs that in a process which is killed right after its commit, before anything else is told of it."""
    script = (
        "import django, os; django.setup()\n"
        "from django.contrib.auth import get_user_model\n"
        "from mydjangoapp import graph, likes, outbox\nfrom mydjangoapp.models import Photo\n"
        f"outbox.{name} = lambda *_: os.kill(os.getpid(), 9)\n{code}\n"
    )
    died = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env={**os.environ, **servers.ENVIRON})
    assert died.returncode == -9


def test_a_photo_whose_deleter_is_killed_right_after_the_commit_is_gone_everywhere(
    make_users: People, redis: Any, worker: Server, settings: Any
) -> None:
    """Out of feeds and lists within seconds, not within the hour that the cache lives; and its file."""
    me, author = make_users(2)
    graph.follow(me, author)
    settings.MEDIA_ROOT = servers.ENVIRON["MEDIA_ROOT"]
    photo = uploads.publish(author, description="x", image=ContentFile(b"pixels", "a.png"))
    file = Path(settings.MEDIA_ROOT, str(photo.image.name))
    client = logged_in(me)
    wait_until(
        lambda: redis.lrange(keys.homefeed(me.pk), 0, -1) == [str(photo.pk).encode()],
        seconds=20,
        what="it is delivered",
    )
    assert ids_of(client.get("/feed/")) == ids_of(client.get("/feed/")) == [photo.pk], "from the cache"
    assert file.exists()
    die_in("bring_in", f"Photo.objects.get(pk={photo.pk}).delete()")
    assert FanOut.objects.get().state in ("cancelled", "done")
    wait_until(lambda: ids_of(client.get("/feed/")) == [], seconds=20, what="nobody sees it")
    wait_until(lambda: not redis.exists(keys.homefeed(me.pk)), seconds=20, what="it is out of the list")
    wait_until(lambda: not file.exists(), seconds=20, what="its file is removed")
    wait_until(lambda: not PendingChange.objects.exists(), seconds=20, what="nothing is left to do")


def test_likes_and_names_whose_process_is_killed_right_after_the_commit_are_shown(
    make_users: People, redis: Any
) -> None:
    me, author = make_users(2)
    graph.follow(me, author)
    [photo] = publish(author)
    client = logged_in(me)
    for _ in range(2):
        assert client.get("/feed/").json()["results"][0]["liked"] is False
    die_in("bring_in", f"likes.like({str(me.pk)!r}, {photo})")
    name = "user.first_name = 'Ada'"
    die_in("bring_in", f"user = get_user_model().objects.get(pk={str(author.pk)!r}); {name}; user.save()")
    settle()
    [entry] = client.get("/feed/").json()["results"]
    assert (entry["liked"], entry["like_count"], entry["author"]["name"]) == (True, 1, "Ada")


def test_a_like_that_redis_lost_in_a_crash_is_told_again(make_users: People, redis: Any) -> None:
    me, author = make_users(2)
    graph.follow(me, author)
    [photo] = publish(author)
    client = logged_in(me)
    assert client.get("/feed/").json()["results"][0]["liked"] is False
    before = redis.get(keys.likes(me.pk))
    assert client.put(f"/photos/{photo}/like/").status_code == 204
    row = PendingChange.objects.get(verb="likes").pk
    redis.set(keys.likes(me.pk), before)  # as if the AOF had ended before the like,
    redis.zrem(receipts_in(redis), row)  # and before its receipt
    settle()
    assert client.get("/feed/").json()["results"][0]["liked"] is True


def test_an_unfollow_brought_in_by_the_outbox_drops_the_followers_list(
    make_users: People, redis: Any, settings: Any
) -> None:
    """With ON_UNFOLLOW = "keep" a photo that its chain had not brought yet was missing above the floor."""
    there = {**settings.MYDJANGOAPP, "ON_UNFOLLOW": "keep"}
    settings.MYDJANGOAPP = there
    me, author = make_users(2)
    graph.follow(me, author)
    [first] = publish(author)
    carry(first, author)
    client = logged_in(me)
    for _ in range(2):
        assert ids_of(client.get("/feed/")) == [first]
    [late] = publish(author)  # its chain has not come to this follower
    settings.MYDJANGOAPP = {**there, "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    graph.unfollow(me, author)
    settings.MYDJANGOAPP = there
    settle()
    ledger_carry(late, author)
    assert ids_of(client.get("/feed/")) == [late, first] == truth_of(me, keep=True)


def many_rows(number: int) -> None:
    PendingChange.objects.bulk_create(PendingChange(verb="circle", circle_id=n) for n in range(1, number + 1))
    PendingChange.objects.update(created_at=timezone.now() - timedelta(minutes=1))


def test_emptying_the_outbox_stops_when_its_time_is_over_and_goes_on_there(redis: Any) -> None:
    """So fan-outs run meanwhile, also after an outage with hundreds of thousands of rows."""
    many_rows(5 * outbox.ROWS_PER_QUERY)
    counts = [outbox.catch_up(Budget(0)) for _ in range(6)]
    assert counts == [outbox.ROWS_PER_QUERY] * 5 + [0]
    with turns.held(keys.catching_up(), 10):
        assert outbox.catch_up() == 0, "one process at a time"


def test_what_is_left_in_an_outbox_is_done_behind_what_waits_in_the_queue(
    redis: Any, broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "OUTBOX_SECONDS", 0.0001)
    many_rows(1_000)
    tasks.rescue_fanouts()
    assert redis.zcard(receipts_in(redis)) == outbox.ROWS_PER_QUERY
    assert b"mydjangoapp.tasks.rescue_fanouts" in broker.lindex("celery", 0), "the rest, later"


def test_a_file_that_cannot_be_removed_does_not_send_the_removal_again_and_again(
    make_users: People,
    redis: Any,
    broker: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    settings.MEDIA_ROOT = tmp_path
    [author] = make_users(1)
    photo = uploads.publish(author, description="x", image=ContentFile(b"pixels", "a.png"))
    broker.flushall()
    delete = FileSystemStorage.delete

    def refuse(self: FileSystemStorage, name: str) -> None:
        raise PermissionError("the bucket's policy")

    monkeypatch.setattr(FileSystemStorage, "delete", refuse)
    photo.delete()
    for _ in range(3):
        settle()
    assert broker.llen("celery") == 1
    assert PendingChange.objects.filter(verb="deleted").count() == 1, "the file is still to go"
    monkeypatch.setattr(FileSystemStorage, "delete", delete)
    settle()
    settle()
    assert not PendingChange.objects.exists()
    assert not list(tmp_path.rglob("*.png"))
