"""Every user's feed, paged to its end, against one plain SQL query, after anything that can happen.

Real Redis, a real worker, real HTTP views; photos are carried while the steps go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from rest_framework.test import APIClient

from devtools.servers import Server, wait_until
from mydjangoapp import graph, likes, uploads
from mydjangoapp.homefeed import feeds_redis, keys
from mydjangoapp.models import Block, FanOut, Follow, Like, Mute, PastFollow, get_photo_model
from tests import servers
from tests.feeds import fields_of, paged, truth_of

PEOPLE = 4
person = st.integers(0, PEOPLE - 1)


def all_carried() -> None:
    """Waits until no fan-out is open."""
    waiting = FanOut.objects.filter(state__in=FanOut.OPEN)
    wait_until(lambda: not waiting.exists(), seconds=60, what="all fan-outs end")
    assert not FanOut.objects.filter(state="failed").exists()


class Feeds(RuleBasedStateMachine):
    """Four people do what people do, and Redis loses what it may lose."""

    users: list[Any]
    workers: Callable[..., Server]
    mode: dict[str, str]
    kills = 0
    worker: Server

    def __init__(self) -> None:
        super().__init__()
        models: tuple[Any, ...] = (get_photo_model(), Follow, Mute, Block, PastFollow, FanOut)
        for model in models:
            model.objects.all().delete()
        feeds_redis.client().flushdb()
        self.clients = []
        for user in self.users:
            self.clients.append(APIClient())
            self.clients[-1].force_authenticate(user)

    @initialize()
    def begin_with_feeds_that_have_been_read(self) -> None:
        for who in range(PEOPLE):
            self.follow(who, (who + 1) % PEOPLE, "follow")
            self.upload(who, 2)
        self.every_feed_is_the_truth(3)

    @rule(who=person, number=st.integers(1, 3))
    def upload(self, who: int, number: int) -> None:
        for _ in range(number):
            uploads.publish(self.users[who], **fields_of("d"))

    @rule(who=person, whom=person, verb=st.sampled_from(["follow", "follow", "follow", "unfollow"]))
    def follow(self, who: int, whom: int, verb: str) -> None:
        blocked = Block.objects.filter(blocker__in=(self.users[who], self.users[whom])).exists()
        if who != whom and not (verb == "follow" and blocked):
            getattr(graph, verb)(self.users[who], self.users[whom])

    @rule(who=person, whom=person, verb=st.sampled_from(["mute", "unmute", "block", "unblock"]))
    def hide(self, who: int, whom: int, verb: str) -> None:
        if who != whom:
            getattr(graph, verb)(self.users[who], self.users[whom])

    @rule(which=st.integers(0, 30))
    def delete(self, which: int) -> None:
        photos = list(get_photo_model().objects.order_by("id"))
        if photos:
            photos[which % len(photos)].delete()

    @rule(who=person, which=st.integers(0, 30), verb=st.sampled_from(["like", "unlike"]))
    def like(self, who: int, which: int, verb: str) -> None:
        photos = list(get_photo_model().objects.order_by("id"))
        if photos:
            getattr(likes, verb)(self.users[who], photos[which % len(photos)].pk)

    @rule(who=person, limit=st.integers(1, 6))
    def read(self, who: int, limit: int) -> None:
        answer = self.clients[who].get(f"/feed/?limit={limit}")
        seen = [photo["id"] for photo in answer.json()["results"]]
        in_order = [photo for photo in self.truth_of(self.users[who]) if photo in set(seen)]
        if "RANKING" in self.mode:  # the order of windows: tests/test_feeds.py
            seen.sort(reverse=True)
        assert seen == in_order, "in order, once, and none hidden"

    @rule(who=person, make=st.sampled_from([keys.homefeed, keys.floor, keys.token, keys.followers]))
    def evict(self, who: int, make: Callable[[Any], str]) -> None:
        feeds_redis.client().delete(make(self.users[who].pk))

    @rule()
    def lose_redis(self) -> None:
        feeds_redis.client().flushdb()

    @rule()
    def kill_worker(self) -> None:
        # Not by a precondition: what may be drawn must not depend on the examples before.
        if type(self).kills == 2:
            return
        type(self).kills += 1
        type(self).worker.kill()
        type(self).worker = type(self).workers(**self.environ())

    def truth_of(self, user: Any) -> list[int]:
        """The whole feed of a user in this mode."""
        photos = truth_of(user, keep=self.mode.get("ON_UNFOLLOW") == "keep")
        return [photo for photo in photos if photo % 4] if "FEED_FILTER" in self.mode else photos

    @classmethod
    def environ(cls) -> dict[str, str]:
        return {f"MYDJANGOAPP_{name}": value for name, value in cls.mode.items()}

    @rule(limit=st.integers(1, 7))
    def every_feed_is_the_truth(self, limit: int) -> None:
        all_carried()
        for user, client in zip(self.users, self.clients, strict=True):
            found = paged(client, limit)
            assert (sorted(found, reverse=True) if "RANKING" in self.mode else found) == self.truth_of(user)
            for photo in client.get("/feed/").json()["results"]:
                counted = get_photo_model().objects.get(id=photo["id"])
                assert photo["like_count"] == Like.objects.filter(photo=counted).count()
                assert photo["liked"] == Like.objects.filter(photo=counted, user=user).exists()

    def teardown(self) -> None:
        self.every_feed_is_the_truth(2)
        self.every_feed_is_the_truth(3)


SMALL = {"BATCH_SIZE": "2", "SLICE_SIZE": "1"}
CAPPED, MIXED = "lists at the cap", "pulled, only to the active, kept"
RANKED = "some pulled, in an order of the site's own, and not all"
MODES = {
    "long lists": {},
    CAPPED: {"MAX_LENGTH": "4"},
    "everybody pulled": {"MAX_LENGTH": "4", "PULL_ABOVE": "0"},
    "some pulled": {"MAX_LENGTH": "4", "PULL_ABOVE": "1"},
    "only to the active": {"MAX_LENGTH": "4", "INACTIVE_AFTER": "1000"},
    MIXED: {
        "MAX_LENGTH": "3",
        "PULL_ABOVE": "1",
        "INACTIVE_AFTER": "1000",
        "ON_UNFOLLOW": "keep",
    },
    RANKED: {
        "MAX_LENGTH": "6",
        "PULL_ABOVE": "1",
        "FEED_FILTER": "tests.hooks.without_every_fourth",
        "RANKING": "tests.hooks.ranked_by_last_digit",
        "RANKING_CANDIDATES": "4",
    },
}


# On SQLite it runs the three that contain most of the others, on PostgreSQL all.
RUN_MODES = MODES if "postgres" in servers.ON else {name: MODES[name] for name in (CAPPED, MIXED, RANKED)}


@pytest.mark.parametrize("mode", RUN_MODES.values(), ids=RUN_MODES)
def test_every_feed_is_the_truth(
    mode: dict[str, str],
    settings: Any,
    redis: Any,
    make_users: Callable[[int], list[Any]],
    workers: Callable[..., Server],
) -> None:
    from mydjangoapp.conf import from_environ

    class InThisMode(Feeds):
        pass

    InThisMode.mode = {**SMALL, **mode}
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, **from_environ(InThisMode.environ())}
    InThisMode.users = make_users(PEOPLE)
    InThisMode.workers = staticmethod(workers)
    InThisMode.worker = workers(**InThisMode.environ())
    run_state_machine_as_test(InThisMode, settings=RUN)


RUN = settings(
    max_examples=20 if "postgres" in servers.ON else 6,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
