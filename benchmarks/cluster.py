"""`python -m benchmarks.cluster`: the engines of a cluster and of a single server, through real Celery.

Both in one run, in turn, on this machine's cores: three primaries against one Redis, AOF everysec. What
counts are the ratios, and what a follower costs the servers, by their own account.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.probe import reads_meanwhile
from benchmarks.results import keep
from devtools.cluster import ClusterServers
from devtools.servers import RedisServer, celery_worker, site_environ, worker_is_ready

OPTIONS = [
    "--auto-aof-rewrite-percentage",
    "0",
]  # a rewrite would take one of the cores from whoever runs then
AT_ONCE = 2_000


CAP = 800  # ids in a feed at its cap
LONGEST = 31_000_000  # followers of the longest chain that is to be computed
WITHIN = 60  # seconds that it should take


@dataclass
class Engine:
    """What was measured of one engine: followers a second; microseconds of its servers for each; others'
    latencies in milliseconds; how many pushes each server took."""

    name: str
    servers: Any
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    pushes: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def cost(self) -> float:
        return statistics.median(self.cpu)

    @property
    def spread(self) -> float:
        """By how much the server with the most pushes is above the mean, as a share of it."""
        return max(self.pushes) / statistics.mean(self.pushes) - 1

    def anew(self) -> Engine:
        """The same servers, nothing measured yet."""
        return Engine(self.name, self.servers)


@contextmanager
def feeds_on(engine: Engine) -> Iterator[None]:
    """Lets this process talk to the engine's servers."""
    from django.conf import settings
    from django.test import override_settings

    with override_settings(MYDJANGOAPP={**settings.MYDJANGOAPP, "REDIS_URL": engine.servers.url()}):
        yield


def fill(author: int, followers: int, ids: int, *, first: int = 1) -> None:
    """An author's follower list, and a feed of so many ids for each."""
    from mydjangoapp.homefeed import feeds_redis, keys

    client: Any = feeds_redis.client()
    old = [str(50_000_000 - number) for number in range(ids)]  # above all photos that are published here
    for start in range(first, first + followers, AT_ONCE):
        users = range(start, min(start + AT_ONCE, first + followers))
        pipeline = client.pipeline(transaction=False)
        pipeline.rpush(keys.followers(author), *users)
        for user in users if ids else ():
            pipeline.rpush(keys.homefeed(user), *old)
        pipeline.execute()


def figures(of: str) -> list[dict[str, Any]]:
    """A part of INFO, of each of the feeds' servers."""
    from mydjangoapp.homefeed import feeds_redis

    with feeds_redis.edge():
        return [node.info(of) for node in feeds_redis.store().nodes()]


def used_cpu() -> float:
    """Seconds of processor that the feeds' servers have used."""
    return sum(float(one["used_cpu_user"]) + float(one["used_cpu_sys"]) for one in figures("cpu"))


def carry(author: Any) -> float:
    """Seconds from an upload to the end of its fan-out."""
    from mydjangoapp import uploads
    from mydjangoapp.homefeed import delivery

    began = time.perf_counter()
    photo = uploads.publish(author, description="bench", photo_url="https://example.com/p.jpg")
    while True:
        [counters] = delivery.counters([(photo.pk, author.pk)])
        if counters and counters.ended is not None:
            return time.perf_counter() - began
        if time.perf_counter() - began > 300:
            raise TimeoutError("a chain did not end within 300 s")
        time.sleep(0.005)  # between two looks, so that looking costs Redis nothing


class Bench:
    """Both engines, with a worker in front of the one that is measured."""

    def __init__(self, environ: dict[str, str], arguments: argparse.Namespace) -> None:
        self._environ = environ
        self._arguments = arguments

    def author(self, name: str, engines: list[Engine], followers: int, ids: int, *, first: int = 1) -> Any:
        """An author with so many followers on these engines."""
        from django.contrib.auth import get_user_model

        author = get_user_model().objects.create(username=name)
        for engine in engines:
            with feeds_on(engine):
                fill(author.pk, followers, ids, first=first)
        return author

    @contextmanager
    def working(self, engine: Engine) -> Iterator[None]:
        """With a worker of its own."""
        environ = {**self._environ, "REDIS_URL": engine.servers.url(), "LOG_LEVEL": "INFO"}
        log = Path(environ["VAR_DIR"]) / "worker.log"
        worker = celery_worker(log, environ, "-c", str(self._arguments.workers))
        with worker, feeds_on(engine):
            worker.wait_for(lambda: worker_is_ready(worker), seconds=60, what="the worker takes tasks")
            yield

    def chains(self, engine: Engine, author: Any, followers: int, number: int) -> None:
        """One chain to warm up, and so many that count."""
        carry(author)
        before = used_cpu()
        for _ in range(number):
            engine.rates.append(followers / carry(author))
        engine.cpu.append((used_cpu() - before) / number / followers * 1e6)

    def rounds(self, engines: list[Engine], author: Any, followers: int) -> None:
        """Chains of both, in turn."""
        for _ in range(self._arguments.rounds):
            for engine in engines:
                with self.working(engine):
                    self.chains(engine, author, followers, self._arguments.chains)

    def meanwhile(self, engine: Engine, author: Any, followers: int) -> list[float]:
        """What others wait while nothing is done; and, noted with the engine, while chains run. How the
        pushes are spread."""
        idle: list[float] = []
        url = engine.servers.url()
        with self.working(engine):
            with reads_meanwhile(url, followers, idle):
                time.sleep(4)  # for as long as is measured
            before = figures("commandstats")
            with reads_meanwhile(url, followers, engine.latencies):
                self.chains(engine.anew(), author, followers, 2 * self._arguments.chains)
            after = figures("commandstats")
        engine.pushes = [
            new["cmdstat_lpush"]["calls"] - old.get("cmdstat_lpush", {"calls": 0})["calls"]
            for new, old in zip(after, before, strict=True)
        ]
        return idle

    def short(self, engines: list[Engine]) -> str:
        """Short lists: the table that compares."""
        followers = self._arguments.followers
        author = self.author("celebrity", engines, followers, self._arguments.ids)
        self.rounds(engines, author, followers)
        text = (
            f"Lists of {self._arguments.ids} ids at the beginning, {followers:,} followers, median of "
            f"{len(engines[0].rates)} chains. "
            "Others: another client's LRANGE of 20 ids, 400 times a second.\n\n"
            "| feeds on | followers/s | of one Redis | µs of Redis per follower | pushes of the fullest node "
            "above the mean | others' p50, p99 idle (ms) | meanwhile |\n|---|---:|---:|---:|---:|---:|---:|\n"
        )
        for engine in engines:
            idle = self.meanwhile(engine, author, followers)
            text += (
                f"| {engine.name} | {engine.rate:,.0f} | {engine.rate / engines[0].rate:.2f} | "
                f"{engine.cost:.2f} | {engine.spread:.1%} | {percentiles(idle)} | "
                f"{percentiles(engine.latencies)} |\n"
            )
        return text

    def full(self, engines: list[Engine]) -> str:
        """Lists at the cap, where every eightieth push trims."""
        followers = self._arguments.full
        author = self.author("late", engines, followers, CAP, first=10_000_001)
        self.rounds(engines, author, followers)
        text = (
            f"\nLists at the cap of {CAP} ids, {followers:,} followers.\n\n"
            "| feeds on | followers/s | of one Redis | µs of Redis per follower |\n|---|---:|---:|---:|\n"
        )
        for engine in engines:
            ratio = engine.rate / engines[0].rate
            text += f"| {engine.name} | {engine.rate:,.0f} | {ratio:.2f} | {engine.cost:.2f} |\n"
        return text

    def guarded(self, engine: Engine) -> str:
        """What a push costs that looks first: nothing found, and found."""
        from mydjangoapp.homefeed.delivery.pushing import Pushes

        text = (
            "\nPushes alone, without Celery: what they cost the three primaries.\n\n"
            "| push | ids in each list | µs of Redis |\n|---|---:|---:|\n"
        )
        number = min(self._arguments.full, self._arguments.followers)
        for first, ids in ((1, f"{self._arguments.ids} and more"), (10_000_001, str(CAP))):
            users = [str(user).encode() for user in range(first, first + number)]
            with feeds_on(engine):
                for name, photo, fence in (
                    ("without looking", 60_000_001, 600.0),
                    ("looks, and it is not there", 60_000_002, 0.0),
                    ("looks, and it is there", 60_000_002, 0.0),
                ):
                    before = used_cpu()
                    pushes = Pushes(photo)
                    for start in range(0, number, 2_500):
                        void_at = time.monotonic() + fence if fence else 0.0
                        outcome = pushes.push(users[start : start + 2_500], void_at=void_at)
                        assert not [*outcome.unsent, *outcome.unsure, *outcome.refused]
                    text += f"| {name} | {ids} | {(used_cpu() - before) / number * 1e6:.2f} |\n"
        return text

    def large(self, engine: Engine) -> str:
        """Chains of several sizes, into lists that the warming chain has made."""
        text = (
            f"\nOn {engine.name}, into lists of few ids, {self._arguments.workers} worker processes.\n\n"
            "| followers | seconds | followers/s | µs of Redis per follower | of the shortest chain's "
            "|\n|---:|---:|---:|---:|---:|\n"
        )
        costs: list[float] = []
        for followers in (100_000, 1_000_000, self._arguments.large):
            author = self.author(f"of {followers}", [engine], followers, 0, first=20_000_001)
            one = engine.anew()
            with self.working(engine):
                self.chains(one, author, followers, max(1, 1_000_000 // followers))
            costs.append(one.cost)
            text += (
                f"| {followers:,} | {followers / one.rate:.2f} | {one.rate:,.0f} | {one.cost:.2f} | "
                f"{one.cost / costs[0]:.2f} |\n"
            )
        seconds, cores = LONGEST / one.rate, os.cpu_count() or 1
        wanted = math.ceil(seconds * cores / WITHIN)
        return (
            f"{text}\nAt the last row's rate a chain of {LONGEST:,} followers takes {seconds:.0f} s on "
            f"these {cores} cores, which servers, workers, broker and the benchmark share: "
            f"{seconds * cores:.0f} core-seconds. For {WITHIN} s it wants {max(0, wanted - cores)} cores "
            "more.\n"
        )


def percentiles(latencies: list[float]) -> str:
    """The median and the 99th of a hundred, in milliseconds."""
    hundredths = statistics.quantiles(latencies, n=100)
    return f"{hundredths[49]:.2f}, {hundredths[98]:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=200_000)
    parser.add_argument("--ids", type=int, default=10, help="in each feed at the beginning")
    parser.add_argument("--full", type=int, default=50_000, help="followers whose lists are at the cap")
    parser.add_argument("--large", type=int, default=0, help="followers of the longest chain")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chains", type=int, default=3, help="in each round")
    parser.add_argument("--workers", type=int, default=2, help="processes of the Celery worker")
    parser.add_argument("--write", action="store_true", help="keep the table under docs/benchmarks")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="feeds-bench-") as name:
        directory = Path(name)
        single = Engine("one Redis", RedisServer.at(directory / "single", options=OPTIONS))
        cluster = Engine("three primaries", ClusterServers(directory / "cluster", options=OPTIONS))
        broker = RedisServer.at(directory / "broker", append_only=False)
        environ = site_environ(
            single.servers,
            directory,
            CELERY_BROKER_URL=broker.url(1),
            CACHE_URL=broker.url(2),
            EVENTS_URL="off",
            LOG_LEVEL="WARNING",
        )
        with broker, single.servers, cluster.servers:
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "-v0"], env={**os.environ, **environ}, check=True
            )
            run(single, cluster, environ, arguments)


def run(single: Engine, cluster: Engine, environ: dict[str, str], arguments: argparse.Namespace) -> None:
    os.environ.update(environ)
    import django

    django.setup()
    from mydjangoapp.homefeed import feeds_redis

    bench = Bench(environ, arguments)
    with feeds_on(single):
        version = ".".join(map(str, feeds_redis.oldest_version()))
    text = (
        f"Redis {version}, Python {platform.python_version()}, {os.cpu_count()} cores, AOF everysec, "
        f"{arguments.workers} worker processes, both engines in one run, in turn.\n\n"
    )
    text += bench.short([single, cluster])
    text += bench.full([single.anew(), cluster.anew()])
    text += bench.guarded(cluster)
    if arguments.large:
        text += bench.large(cluster)
    print(text)
    if arguments.write:
        keep("cluster", "A cluster", text)


if __name__ == "__main__":
    main()
