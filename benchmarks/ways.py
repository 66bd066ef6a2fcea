"""The other ways to carry a photo to followers, as Celery tasks: what people write themselves.

Loaded into the worker beside the app's own tasks. The fault tests run them too, to show that their
checker sees what these lose and double.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import shared_task

from mydjangoapp.conf import conf
from mydjangoapp.homefeed import feeds_redis, keys

ENDED = "ways-ended"


@shared_task(name="benchmarks.naive", acks_late=True)
def naive(photo: int, author: int, cursor: int = 0) -> None:
    """One LPUSH per round trip, then the next batch."""
    redis = feeds_redis.client()
    _link(naive, photo, author, cursor, lambda users: [redis.lpush(keys.homefeed(u), photo) for u in users])


@shared_task(name="benchmarks.pipelined", acks_late=True)
def pipelined(photo: int, author: int, cursor: int = 0) -> None:
    """A redis-py pipeline of LPUSH and LTRIM, 1,000 followers a time, then the next batch."""

    def push(users: list[str]) -> None:
        for start in range(0, len(users), 1_000):
            pipeline = feeds_redis.client().pipeline(transaction=False)
            for user in users[start : start + 1_000]:
                pipeline.lpush(keys.homefeed(user), photo)
                pipeline.ltrim(keys.homefeed(user), 0, 799)
            pipeline.execute()

    _link(pipelined, photo, author, cursor, push)


@shared_task(name="benchmarks.naive_to_the_end", acks_late=True)
def naive_to_the_end(photo: int, author: int, cursor: int = 0) -> None:
    """The chain word for word: one LPUSH per round trip, the next batch enqueued until no followers are left.
    So each photo takes a task more than it has batches."""
    redis = feeds_redis.client()
    found: Any = redis.lrange(keys.followers(author), cursor, cursor + conf.BATCH_SIZE - 1)
    for user in found:
        redis.lpush(keys.homefeed(user.decode()), photo)
    if found:
        naive_to_the_end.delay(photo, author, cursor + conf.BATCH_SIZE)


@shared_task(name="benchmarks.count", acks_late=True)
def count(key: str) -> None:
    """Celery's own floor: a task that only counts."""
    feeds_redis.client().incr(key)


def _link(task: Any, photo: int, author: int, cursor: int, push: Callable[[list[str]], object]) -> None:
    redis = feeds_redis.client()
    size = conf.BATCH_SIZE
    found: Any = redis.lrange(keys.followers(author), cursor, cursor + size - 1)
    push([user.decode() for user in found])
    if len(found) == size:
        task.delay(photo, author, cursor + size)
    else:
        redis.set(f"{ENDED}:{photo}", 1)
