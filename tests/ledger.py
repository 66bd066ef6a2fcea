"""Carrying, ageing, settling and giving up a fan-out by hand, for tests of the ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from mydjangoapp import uploads
from mydjangoapp.fanout import chain, settling
from mydjangoapp.homefeed import delivery, keys
from mydjangoapp.homefeed.delivery import Message
from mydjangoapp.homefeed.delivery.ended import set_of
from mydjangoapp.models import FanOut
from tests.checker import author_of, state
from tests.feeds import fields_of


class Sent(list[tuple[int, Any, int]]):
    """Where messages would go."""

    def __call__(self, photo: int, user: Any, cursor: int = 0) -> bool:
        self.append((photo, user, cursor))
        return True


def publish(author: Any) -> int:
    return int(uploads.publish(author, **fields_of("x")).pk)


def carry(photo: int, author: Any, cursor: int = 0, *, redelivered: bool = False) -> Sent:
    sent = Sent()
    chain.carry(Message(photo, author.pk, cursor, redelivered), sent)
    return sent


def settled(photo: int) -> str:
    """The state, when the time to settle has passed."""
    let_time_pass(photo)
    settling.settle(Sent(), removed := Sent())
    assert not removed, "the photo is there"
    return state(photo)


def let_time_pass(photo: int, seconds: float = 60) -> None:
    """As if the fan-out had ended so much earlier."""
    author = author_of(photo)
    followers_client().zincrby(set_of(author), -seconds, f"{photo}:{author}")


def grow_old(photo: int, seconds: float) -> None:
    """As if its last sign of life, and the last message of any, had been so long ago, in SQL and in Redis."""
    then = timezone.now() - timedelta(seconds=seconds)
    FanOut.objects.filter(photo_id=photo).update(created_at=then)
    FanOut.objects.filter(photo_id=photo).exclude(heartbeat_at=None).update(heartbeat_at=then)
    client = followers_client()
    if client.exists(fanout := keys.fanout(author_of(photo), photo)):
        client.hincrbyfloat(fanout, "beat", -seconds)
    if client.exists(keys.queue()):
        for field in ("moved", "probed"):
            client.hincrbyfloat(keys.queue(), field, -seconds)


def followers_client() -> Any:
    from mydjangoapp.homefeed import feeds_redis

    return feeds_redis.client()


def give_up(photo: int) -> None:
    FanOut.objects.filter(photo_id=photo).update(
        state="failed", attempts=11, last_error="gave up", finished_at=timezone.now()
    )
    delivery.cancel(photo, author_of(photo))
