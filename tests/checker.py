"""Who got a photo how often: the terms of https://jepsen.io, over followers present throughout."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from more_itertools import batched

from devtools.servers import Server, wait_until
from mydjangoapp.homefeed import delivery, feeds_redis, keys
from mydjangoapp.homefeed.delivery import Counters
from mydjangoapp.models import FanOut, get_photo_model

FIRST = 1_000_001  # follower ids of lists that tests fill by hand


@dataclass(frozen=True)
class Outcome:
    """How many followers got it not at all, more than once, or should not have got it."""

    lost: int = 0
    doubled: int = 0
    unexpected: int = 0


ALL_ONCE = Outcome()


def fill(author: Any, number: int) -> range:
    """Fills `followers:{author}` by hand, as redis-cli would, without any row in SQL."""
    users = range(FIRST, FIRST + number)
    pipeline = feeds_redis.client().pipeline(transaction=False)
    for some in batched(users, 5_000):
        pipeline.rpush(keys.followers(author), *some)
    pipeline.execute()
    return users


def outcome(photo: int, present: Iterable[Any], absent: Iterable[Any] = ()) -> Outcome:
    """Reads every follower's list: `present` should have the photo once, `absent` not at all."""
    copies = list(_copies(photo, present))
    return Outcome(
        lost=copies.count(0),
        doubled=sum(number > 1 for number in copies),
        unexpected=sum(number > 0 for number in _copies(photo, absent)),
    )


def _copies(photo: int, users: Iterable[Any]) -> Iterable[int]:
    wanted = str(photo).encode()
    for some in batched(users, 5_000):
        pipeline = feeds_redis.client().pipeline(transaction=False)
        for user in some:
            pipeline.lrange(keys.homefeed(user), 0, -1)
        for found in pipeline.execute(raise_on_error=False):
            yield found.count(wanted) if isinstance(found, list) else 0


def state(photo: int) -> str:
    """The ledger's word for a fan-out."""
    return FanOut.objects.values_list("state", flat=True).get(photo_id=photo)


def wait_for_end(photo: int, *, seconds: float = 60) -> str:
    """Waits until the fan-out has ended in the ledger; returns how."""
    ended = (FanOut.State.DONE, FanOut.State.FAILED, FanOut.State.CANCELLED)
    wait_until(lambda: state(photo) in ended, seconds=seconds, what=f"the fan-out of photo {photo} ends")
    return state(photo)


def author_of(photo: int) -> Any:
    """The author's id, as the ledger has it."""
    return FanOut.objects.values_list("author_id", flat=True).get(photo_id=photo)


def cursor(photo: int, author: Any = None) -> int:
    """How far Redis is with a fan-out; `author` where SQL does not know it."""
    return int(feeds_redis.client().hget(keys.fanout(author or author_of(photo), photo), "cursor") or 0)


def counters(photo: int, author: Any = None) -> Counters | None:
    """A fan-out's counters in Redis; `author` where SQL does not know it."""
    [found] = delivery.counters([(photo, author or author_of(photo))])
    return found


def has_ended(photo: int) -> bool:
    """Whether Redis says that the fan-out has served everybody."""
    seen = counters(photo)
    return seen is not None and seen.ended is not None


def runs(task: str, *workers: Server) -> int:
    """How many times workers have taken up a task of that name, by their logs."""
    return sum(worker.log.read_text().count(f"Task {task}[") // 2 for worker in workers)


def quiet(broker: Any) -> bool:
    """Whether the broker has no message, neither waiting nor in a worker's hands."""
    return not broker.exists("celery", "unacked")


class Orders(list[int]):
    """Takes the orders to enqueue a next link, as a broker that is there would."""

    def __call__(self, link: int) -> bool:
        self.append(link)
        return True


def nothing_was_saved(broker: Any) -> bool:
    """Whether no photo, no fan-out and no message is there."""
    rows = get_photo_model().objects.exists() or FanOut.objects.exists()
    return not rows and not broker.llen("celery")
