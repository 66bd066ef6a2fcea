"""`make soak`: minutes of steady uploads while workers, broker, beat and the feeds' Redis are killed at
random; then every feed is compared with what it should have. Exit status 1 if anything is wrong."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import django

from tests import servers

django.setup()

import psutil  # noqa: E402  # Django first
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError  # noqa: E402
from more_itertools import batched  # noqa: E402

from devtools.servers import Server, celery_beat, celery_worker, wait_until, worker_is_ready  # noqa: E402
from mydjangoapp import uploads  # noqa: E402
from mydjangoapp.homefeed import feeds_redis, keys  # noqa: E402
from mydjangoapp.models import FanOut  # noqa: E402

AUTHORS = 200
USERS = range(1_000_001, 1_100_001)
RECOVERY = 60


class Site:
    """Redis, broker, worker and beat, and somebody who kills them."""

    def __init__(self, stack: ExitStack, chance: random.Random) -> None:
        self._chance = chance
        self._stack = stack
        self._number = 0
        self.kills: Counter[str] = Counter()
        self.rss: list[tuple[float, int]] = []
        stack.enter_context(servers.REDIS)
        stack.enter_context(servers.BROKER)
        call_command("migrate", verbosity=0)

    def start(self) -> None:
        self.worker = self._worker()
        self.beat = self._stack.enter_context(celery_beat(servers.DIRECTORY / "beat.log", servers.ENVIRON))

    def _worker(self) -> Server:
        self._number += 1
        log = servers.DIRECTORY / "log" / f"soak-{self._number}.log"
        worker = celery_worker(log, servers.ENVIRON, "-n", f"soak-{self._number}@%h")
        self._stack.enter_context(worker)
        worker.wait_for(lambda: worker_is_ready(worker), seconds=60, what="the worker takes tasks")
        return worker

    def kill_one(self) -> None:
        """A fault at random, over when this returns."""
        faults: list[Callable[[], None]] = [
            self._child,
            self._whole_worker,
            self._broker,
            self._redis,
            self._redis_stands_still,
            self._beat,
        ]
        fault = self._chance.choice(faults)
        self.kills[fault.__name__.strip("_").replace("_", " ")] += 1
        fault()

    def _child(self) -> None:
        children = psutil.Process(self.worker.pid).children()
        if children:
            os.kill(self._chance.choice(children).pid, signal.SIGKILL)

    def _whole_worker(self) -> None:
        self.worker.kill()
        self.worker = self._worker()

    def _broker(self) -> None:
        servers.BROKER.kill()
        time.sleep(self._chance.uniform(0, 5))  # how long it is away
        servers.BROKER.start()

    def _redis(self) -> None:
        servers.REDIS.kill()
        time.sleep(self._chance.uniform(0, 3))  # how long it is away
        servers.REDIS.start()

    def _redis_stands_still(self) -> None:
        servers.REDIS.signal(signal.SIGSTOP)
        time.sleep(self._chance.uniform(0.5, 5))  # how long it stands still
        servers.REDIS.signal(signal.SIGCONT)

    def _beat(self) -> None:
        self.beat.kill()
        self.beat.start()

    def supervise(self) -> None:
        """What systemd would do, and a look at the memory."""
        if not self.worker.running:
            print("the worker had ended; a new one is started")
            self.kills["worker ended by itself"] += 1
            self.worker = self._worker()
        processes = [psutil.Process(self.worker.pid), *psutil.Process(self.worker.pid).children()]
        self.rss.append((time.monotonic(), max(process.memory_info().rss for process in processes)))


def make_authors(chance: random.Random) -> dict[Any, array[int]]:
    """Authors with 10 to 100,000 followers, as many small ones as large ones on a scale of powers."""
    user = get_user_model()
    authors = user.objects.bulk_create(user(username=f"author-{n}", password="!") for n in range(AUTHORS))
    found = {}
    for author in authors:
        number = round(10 ** chance.uniform(1, 5))
        found[author.pk] = array("q", chance.sample(USERS, number))
        pipeline = feeds_redis.client().pipeline(transaction=False)
        for some in batched(found[author.pk], 5_000):
            pipeline.rpush(keys.followers(author.pk), *some)
        pipeline.execute()
    redis: Any = feeds_redis.client()
    redis.bgrewriteaof()
    wait_until(lambda: not redis.info("persistence")["aof_rewrite_in_progress"], seconds=60, what="written")
    return found


def upload_until(end: float, authors: list[Any], a_second: float, chance: random.Random) -> dict[int, Any]:
    """Publishes at that rate; returns the author of each photo."""
    user = get_user_model()
    photos: dict[int, Any] = {}
    slowest = 0.0
    while (began := time.monotonic()) < end:
        author = chance.choice(authors)
        try:
            photo = uploads.publish(
                user.objects.get(pk=author), description="soak", photo_url="https://example.com/p.jpg"
            )
            photos[photo.pk] = author
        except DatabaseError as error:
            print(f"an upload was refused: {error}")
        took = time.monotonic() - began
        slowest = max(slowest, took)
        time.sleep(max(0.0, 1 / a_second - took))  # the pace of the uploads
    print(f"{len(photos):,} uploads, the slowest took {slowest:.2f} s")
    return photos


def compare(authors: dict[Any, array[int]], photos: dict[int, Any]) -> Counter[str]:
    """Reads every feed: which followers lack a photo, have it twice, or should not have it."""
    of_author = Counter(photos.values())
    follows: dict[int, list[Any]] = {}
    for author, followers in authors.items():
        for follower in followers:
            follows.setdefault(follower, []).append(author)
    found: Counter[str] = Counter()
    for some in batched(follows, 1_000):
        pipeline = feeds_redis.client().pipeline(transaction=False)
        for follower in some:
            pipeline.lrange(keys.homefeed(follower), 0, -1)
        for follower, feed in zip(some, pipeline.execute(), strict=True):
            ids = [int(id_) for id_ in feed]
            mine = set(follows[follower])
            right = {id_ for id_ in ids if photos.get(id_) in mine}
            found["pushes"] += len(ids)
            found["doubled"] += len(ids) - len(set(ids))
            found["unexpected"] += len(set(ids)) - len(right)
            found["lost"] += sum(of_author[author] for author in mine) - len(right)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--uploads", type=float, default=2.0, help="a second (2)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    options = parser.parse_args()
    print(f"--seed {options.seed}")
    chance = random.Random(options.seed)  # noqa: S311  # to be repeated, not to be secret
    with ExitStack() as stack:
        site = Site(stack, chance)
        authors = make_authors(chance)
        print(f"{AUTHORS} authors, {sum(map(len, authors.values())):,} follows")
        site.start()
        end = time.monotonic() + options.minutes * 60
        stopped = threading.Event()

        one_at_a_time = threading.Lock()

        def kill_at_random() -> None:
            while not stopped.wait(chance.uniform(3, 15)):
                with one_at_a_time:
                    site.kill_one()

        def supervise() -> None:
            while not stopped.wait(2):
                with one_at_a_time:
                    site.supervise()

        threads = [threading.Thread(target=kill_at_random), threading.Thread(target=supervise)]
        for thread in threads:
            thread.start()
        try:
            photos = upload_until(end, list(authors), options.uploads, random.Random(options.seed + 1))  # noqa: S311
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
        site.supervise()
        began = time.monotonic()
        still_open = FanOut.objects.filter(state__in=FanOut.OPEN)
        try:
            wait_until(lambda: not still_open.exists(), seconds=RECOVERY, what="no fan-out is open")
        except TimeoutError as error:
            print(error)
        print(f"settled {time.monotonic() - began:.1f} s after the last fault")
        return judge(site, compare(authors, photos), still_open.count())


def judge(site: Site, found: Counter[str], left_open: int) -> int:
    """Prints what was found; 0 if all is right."""
    states = Counter(FanOut.objects.values_list("state", flat=True))
    third = len(site.rss) // 3 or 1
    # The first failures of a process cost it some 35 MB, once: tracebacks, until Python collects them.
    middle, late = (
        max(rss for _, rss in some) for some in (site.rss[third:-third] or site.rss, site.rss[-third:])
    )
    memory: Any = feeds_redis.client().info("memory")
    print(f"faults: {dict(site.kills)}")
    print(f"states: {dict(states)}, left open: {left_open}")
    print(
        f"pushes {found['pushes']:,}, lost {found['lost']}, doubled {found['doubled']}, "
        f"unexpected {found['unexpected']}"
    )
    print(f"largest worker process: {middle >> 20} MB in the middle third, {late >> 20} MB in the last")
    used = memory["used_memory"]
    print(f"Redis: {used / 2**20:.0f} MB, {used / found['pushes']:.1f} bytes a push")
    wrong = found["lost"] + found["doubled"] + found["unexpected"] + left_open
    wrong += states.total() - states["done"]
    return int(bool(wrong) or late > middle * 1.2)


if __name__ == "__main__":
    sys.exit(main())
