"""The engine's scripts on a real Redis, a call at a time: what no worker could be timed to show."""

from __future__ import annotations

from typing import Any

import pytest

from devtools.servers import free_port, wait_until
from mydjangoapp.exceptions import FeedsRefused, FeedsUnavailable
from mydjangoapp.homefeed import delivery, keys, scripts
from mydjangoapp.homefeed.delivery import Beginning, Message, Status, Verdict
from tests.checker import ALL_ONCE, Orders, counters, cursor, fill, outcome

pytestmark = pytest.mark.usefixtures("redis")
AUTHOR = 7


@pytest.fixture(autouse=True)
def small(settings: Any) -> None:
    settings.MYDJANGOAPP = {
        **settings.MYDJANGOAPP,
        "BATCH_SIZE": 10,
        "SLICE_SIZE": 4,
        "MAX_LENGTH": 20,
        "LEASE_SECONDS": 1.0,
    }


def claim(
    photo: int, cursor: int = 0, *, redelivered: bool = False, create: bool = True, guard: bool = False
) -> delivery.Claim:
    message = Message(photo, AUTHOR, cursor, redelivered)
    return delivery.begin(message, Beginning(guard=guard)) if create else delivery.claim(message)


def granted(verdict: Verdict, start: int, stop: int, *, total: int = 35) -> delivery.Claim:
    """A batch of photo 1 that a worker has in hand."""
    return delivery.Claim(1, AUTHOR, verdict, start, stop, False, start, start, total, 1, None)


def serve(batch: delivery.Claim) -> tuple[Status, list[int]]:
    enqueued = Orders()
    return delivery.serve(batch, enqueued).status, enqueued


def carry_all(photo: int, **flags: bool) -> None:
    batch = claim(photo, **flags)
    while (served := serve(batch))[0] is Status.OVER:
        batch = claim(photo, served[1][0])
    assert served[0] is Status.ENDED


def test_a_batch_orders_the_next_link_once_and_leaves_the_rest_to_it(redis: Any) -> None:
    users = fill(AUTHOR, 25)
    first = claim(1)
    assert (first.verdict, first.start, first.stop) == (Verdict.START, 0, 10)
    assert serve(first) == (Status.OVER, [10])
    assert serve(first) == (Status.OVER, []), "served again: nothing more to do or to order"
    second = claim(1, 10)
    assert (second.verdict, second.start, second.stop) == (Verdict.NEXT, 10, 20)
    assert serve(second) == (Status.OVER, [20])
    assert serve(claim(1, 20)) == (Status.ENDED, [])
    assert outcome(1, users) == ALL_ONCE
    assert claim(1, 20).verdict == claim(1, 0).verdict == Verdict.ENDED


def test_of_any_number_of_messages_for_a_link_one_is_let_through() -> None:
    fill(AUTHOR, 25)
    assert [claim(1).verdict for _ in range(5)] == [Verdict.START] + [Verdict.DUPLICATE] * 4
    assert claim(1, 20).verdict is Verdict.DUPLICATE, "a link that is not the next"
    assert claim(1, 10).verdict is Verdict.NEXT
    assert claim(1, 10).verdict is Verdict.DUPLICATE
    assert claim(1, 0, redelivered=True).verdict is Verdict.DUPLICATE, "the chain has gone on"


def test_a_redelivered_message_takes_over_at_once_and_others_after_the_lease(redis: Any) -> None:
    users = fill(AUTHOR, 35)
    claim(1)
    dead = claim(1, 10)
    assert serve(dead)[0] is Status.OVER  # died before its next link was on its way
    again = claim(1, 10, redelivered=True)
    assert (again.verdict, again.start) == (Verdict.TAKEOVER, 20), "goes on where the data says"
    assert claim(1, 0).verdict is Verdict.DUPLICATE
    wait_until(lambda: claim(1, 0).verdict is Verdict.TAKEOVER, seconds=5, what="the lease is over")
    assert cursor(1, AUTHOR) == 20
    assert serve(granted(Verdict.TAKEOVER, 20, 30)) == (Status.OVER, [30])
    assert serve(claim(1, 30))[0] is Status.ENDED
    assert outcome(1, users) == ALL_ONCE


def test_nothing_is_begun_or_served_of_what_redis_does_not_know() -> None:
    fill(AUTHOR, 5)
    assert claim(1, create=False).verdict is Verdict.ABSENT
    assert serve(granted(Verdict.NEXT, 0, 10)) == (Status.ABSENT, [])
    assert claim(2).verdict is Verdict.START
    without_list = Message(3, 8)
    assert delivery.begin(without_list, Beginning()).verdict is Verdict.UNLISTED
    assert delivery.begin(without_list, Beginning(without_followers=True)).verdict is Verdict.START


def test_a_cancelled_fanout_is_absent_for_whoever_carries_it(redis: Any) -> None:
    fill(AUTHOR, 25)
    batch = claim(1)
    delivery.cancel(1, AUTHOR)
    assert serve(batch) == (Status.ABSENT, [])
    assert not redis.exists(keys.fanout(AUTHOR, 1), keys.running(AUTHOR))


def test_a_guarded_chain_gives_nobody_a_second_copy(redis: Any) -> None:
    users = fill(AUTHOR, 25)
    serve(claim(1))  # ten have it; then the hash is lost, and not the feeds
    redis.delete(keys.fanout(AUTHOR, 1))
    carry_all(1, guard=True)
    assert outcome(1, users) == ALL_ONCE


def test_a_list_that_is_not_the_cursors_own_begins_the_chain_again_guarded(redis: Any) -> None:
    users = fill(AUTHOR, 25)
    batch = claim(1)
    serve(batch)
    redis.delete(keys.followers(AUTHOR))
    assert serve(batch) == (Status.ABSENT, [])
    redis.rpush(keys.followers(AUTHOR), *reversed(users))
    redis.hset(keys.state(AUTHOR), "generation", "another")
    assert claim(1, 10, create=False).verdict is Verdict.ABSENT
    carry_all(1)
    assert outcome(1, users) == ALL_ONCE


def test_lists_are_trimmed_in_lumps_and_the_floor_moves_above_what_was_cut(redis: Any) -> None:
    [user] = fill(AUTHOR, 1)
    feed, floor = keys.homefeed(user), keys.floor(user)
    redis.rpush(feed, *range(119, 98, -1))  # 21 of them: one above the cap of 20
    redis.set(floor, 99)
    redis.set(keys.token(user), "t")
    carry_all(200)
    assert (redis.llen(feed), redis.get(floor), redis.exists(keys.token(user))) == (22, b"99", 1)
    carry_all(201)
    assert [int(i) for i in redis.lrange(feed, 0, -1)] == [201, 200, *range(119, 101, -1)]
    assert redis.get(floor) == b"102", "101 was the highest id cut off"
    assert not redis.exists(keys.token(user))


def test_a_trim_without_a_floor_makes_none(redis: Any) -> None:
    [user] = fill(AUTHOR, 1)
    redis.rpush(keys.homefeed(user), *range(30, 0, -1))
    carry_all(200)
    assert redis.llen(keys.homefeed(user)) == 20
    assert not redis.exists(keys.floor(user))


def test_the_floor_never_falls(redis: Any) -> None:
    [user] = fill(AUTHOR, 1)
    redis.rpush(keys.homefeed(user), *range(30, 0, -1))
    redis.set(keys.floor(user), 500)
    carry_all(600)
    assert redis.get(keys.floor(user)) == b"500"


def test_a_push_that_makes_a_list_voids_floor_and_token(redis: Any) -> None:
    [user] = fill(AUTHOR, 1)
    redis.set(keys.floor(user), 5)
    redis.set(keys.token(user), "t")
    carry_all(9)
    assert not redis.exists(keys.floor(user), keys.token(user))


def test_wrong_typed_feeds_are_counted_wherever_they_stand(redis: Any) -> None:
    users = fill(AUTHOR, 9)
    for user in (users[0], users[3], users[8], AUTHOR):
        redis.set(keys.homefeed(user), "x")
    carry_all(1)
    assert outcome(1, [users[i] for i in (1, 2, 4, 5, 6, 7)]) == ALL_ONCE
    progress = counters(1, AUTHOR)
    assert progress is not None
    assert (progress.reached, progress.refused, progress.total) == (6, 3, 9)
    assert progress.ended


def test_scripts_that_redis_has_forgotten_are_sent_again(redis: Any) -> None:
    users = fill(AUTHOR, 25)
    carry_all(1)
    redis.script_flush()
    carry_all(2)
    assert outcome(2, users) == ALL_ONCE


def test_out_of_memory_is_refused_before_the_first_push_and_nothing_is_half_done(redis: Any) -> None:
    users = fill(AUTHOR, 8)
    batch = claim(1)  # four of them are served in the same step
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(FeedsRefused, match="out of memory"):
            serve(batch)
        with pytest.raises(FeedsRefused, match="out of memory"):
            claim(2)
    finally:
        redis.config_set("maxmemory", 0)
    assert not any(redis.exists(keys.homefeed(user)) for user in users[4:])
    assert cursor(1, AUTHOR) == 4
    assert not redis.exists(keys.fanout(AUTHOR, 2))
    assert serve(batch)[0] is Status.ENDED
    assert outcome(1, users) == ALL_ONCE


def test_a_follower_list_of_a_wrong_type_is_an_error_that_names_the_server(redis: Any) -> None:
    redis.set(keys.followers(AUTHOR), "x")
    with pytest.raises(FeedsRefused, match=r"127\.0\.0\.1:\d+ refused a command: .*WRONGTYPE"):
        claim(1)


def test_a_redis_that_is_not_there_is_an_error_that_says_what_to_do(settings: Any) -> None:
    url = f"redis://user:secret@127.0.0.1:{free_port()}/0"
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "REDIS_URL": url}
    with pytest.raises(FeedsUnavailable, match="REDIS_URL") as caught:
        claim(1)
    assert "secret" not in str(caught.value)


def test_every_key_takes_the_prefix(redis: Any, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "KEY_PREFIX": "site1:"}
    fill(AUTHOR, 3)
    carry_all(1)
    found = {key.decode() for key in redis.scan_iter()}
    assert found
    assert all(key.startswith("site1:") for key in found)


def test_scripts_declare_what_they_do() -> None:
    for script in vars(scripts).values():
        if isinstance(script, scripts.Script):
            head = script.plain.split("\nlocal ")[0]
            assert head.startswith(f"-- {script.name}: "), script.name
            assert "KEYS" in head and "ARGV" in head and "Returns" in head and "O(" in head, script.name


def test_a_next_link_that_the_broker_refuses_is_sent_again() -> None:
    fill(AUTHOR, 25)
    tries: list[int] = []

    def refuse_twice(link: int) -> bool:
        tries.append(link)
        return len(tries) > 2

    assert delivery.serve(claim(1), refuse_twice).status is Status.OVER
    assert tries == [10, 10, 10]


def test_a_worker_whose_link_is_taken_over_meanwhile_may_be_ordered_twice(redis: Any) -> None:
    users = fill(AUTHOR, 25)
    batch = claim(1)
    enqueued: list[int] = []

    def take_over(link: int) -> bool:
        enqueued.append(link)
        redis.hdel(keys.fanout(AUTHOR, 1), "sent")  # what a takeover of this link does
        return True

    assert delivery.serve(batch, take_over).status is Status.OVER
    assert set(enqueued) == {10}
    assert outcome(1, users[:10]) == ALL_ONCE
