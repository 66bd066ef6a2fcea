"""Many small fan-outs: the photos of authors with few followers, queued before one worker begins.

By far the most frequent case. Beside it, in the same run and in turn: the naive chain, and Celery's own
floor, a task that only counts. What counts are the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.results import keep
from benchmarks.rig import Way
from devtools.installed_servers import PostgresServer
from devtools.servers import RedisServer, celery_worker, site_environ

AUTHORS = 50
FOLLOWERS = 50
FIRST = 1_000_000  # follower ids
LONGER = 3  # times as many photos, so that settling runs beside the deliveries
LOOK_SECONDS = 0.02  # between two looks, so that looking costs Redis nothing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=1_500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--on", choices=["sqlite", "postgres", "both"], default="both")
    parser.add_argument("--no-write", action="store_true")
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        options.part.write_text(json.dumps(measure(options)))
        return
    databases = ["sqlite", "postgres"] if options.on == "both" else [options.on]
    parts = {database: _in_own_process(database) for database in databases}
    text = table(parts, options.photos)
    print(text)
    if not options.no_write:
        keep("small", "Small fan-outs", text)


def _in_own_process(database: str) -> dict[str, Any]:
    """One database, with a Django of its own."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as part:
        command = [sys.executable, "-m", "benchmarks.small", *sys.argv[1:], "--on", database]
        subprocess.run([*command, "--part", part.name], check=True)
        found: dict[str, Any] = json.load(part)
    return found


class Small:
    """Servers and authors; queues photos and lets a worker carry them."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        from django.contrib.auth import get_user_model

        from mydjangoapp.homefeed import feeds_redis

        self.environ, self.log = environ, log
        self.redis: Any = feeds_redis.client()
        names = [f"author-{number}" for number in range(AUTHORS)]
        self.users = get_user_model().objects.bulk_create(get_user_model()(username=name) for name in names)

    def fill(self) -> None:
        """The follower lists, and a feed for each follower."""
        self.redis.flushall()
        for number, user in enumerate(self.users):
            followers = range(FIRST + number * FOLLOWERS, FIRST + (number + 1) * FOLLOWERS)
            self.redis.rpush(f"followers:{user.pk}", *followers)
            for follower in followers:
                self.redis.lpush(f"homefeed:{follower}", 1)

    def delivered(self) -> int:
        """How many photos have reached the last follower of their author."""
        pipeline = self.redis.pipeline(transaction=False)
        for number in range(AUTHORS):
            pipeline.llen(f"homefeed:{FIRST + (number + 1) * FOLLOWERS - 1}")
        return int(sum(pipeline.execute())) - AUTHORS

    def rate(self, number: int, done: Callable[[], int]) -> float:
        """Starts a worker with two processes; returns how many it does a second, from first to last."""
        worker = celery_worker(self.log, self.environ, "-c", "2", "-I", "benchmarks.ways")
        with worker:
            first, began = 0, 0.0
            while (now_done := done()) < number:
                now = time.perf_counter()
                if not first and now_done:
                    first, began = now_done, now
                if not worker.running or (first and now - began > 120):
                    raise RuntimeError(f"{now_done} of {number}: {worker.last_words()}")
                time.sleep(LOOK_SECONDS)
            return (number - first) / (time.perf_counter() - began)

    def engine(self, number: int) -> float:
        from mydjangoapp import uploads

        self.fill()
        for photo in range(number):
            author = self.users[photo % AUTHORS]
            uploads.publish(author, description="small", photo_url="https://example.com/p.jpg")
        return self.rate(number, self.delivered)

    def naive(self, task: Any, number: int) -> float:
        self.fill()
        for photo in range(number):
            task.delay(10_000_000 + photo, self.users[photo % AUTHORS].pk)
        return self.rate(number, self.delivered)

    def floor(self, number: int) -> float:
        from benchmarks import ways

        self.redis.flushall()
        for _ in range(number):
            ways.count.delay("counted")
        return self.rate(number, lambda: int(self.redis.get("counted") or 0))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Each way once a round, in turn."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = stack.enter_context(RedisServer.at(directory / "redis"))
        environ = site_environ(redis, directory, LOG_LEVEL="WARNING")
        if options.on == "postgres":
            environ["DATABASE_URL"] = stack.enter_context(PostgresServer.new()).url()
        os.environ.update(environ)
        import django

        django.setup()
        from django.core.management import call_command

        from benchmarks import ways

        call_command("migrate", verbosity=0)
        small = Small(environ, directory / "worker.log")
        number = options.photos
        engine, longer = Way("this engine", number), Way("this engine, settling beside it", number * LONGER)
        naive, naive_short = Way("naive chain", number), Way("naive, one task a photo", number)
        floor = Way("Celery's floor: a task that only counts", number)
        for _ in range(options.rounds):
            floor.rates.append(small.floor(number))
            naive.rates.append(small.naive(ways.naive_to_the_end, number))
            engine.rates.append(small.engine(number))
            naive_short.rates.append(small.naive(ways.naive, number))
            longer.rates.append(small.engine(number * LONGER))
        version = small.redis.info("server")["redis_version"]
        return {
            "redis": version,
            "ways": [asdict(way) for way in (floor, naive, naive_short, engine, longer)],
        }


def table(parts: dict[str, dict[str, Any]], photos: int) -> str:
    """The figures as Markdown."""
    version = next(iter(parts.values()))["redis"]
    lines = [
        f"{photos:,} photos of {AUTHORS} authors with {FOLLOWERS} followers each, queued before one worker "
        f"with two processes begins. Redis {version}, AOF everysec, also the broker; {os.cpu_count()} cores.",
        "",
        "| database | way | fan-outs/s | times naive | of the floor |",
        "|---|---|---:|---:|---:|",
    ]
    for database, part in parts.items():
        ways = [Way(**way) for way in part["ways"]]
        floor, naive = ways[0].rate, ways[1].rate
        lines += [
            f"| {database} | {way.name} | {way.rate:,.0f} | {way.rate / naive:.2f} | {way.rate / floor:.2f} |"
            for way in ways
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
