"""`python -m benchmarks.cluster`: the engines of a cluster and of a single server, through real Celery.

Both in one run, in turn, on this machine's cores: three primaries against one Redis, AOF everysec. What
counts are the ratios, and what a follower costs the servers, by their own account.
"""

from __future__ import annotations

import argparse
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

from benchmarks.results import keep
from devtools.cluster import ClusterServers
from devtools.servers import RedisServer, celery_worker, site_environ, worker_is_ready

OPTIONS = [
    "--auto-aof-rewrite-percentage",
    "0",
]  # a rewrite would take one of the cores from whoever runs then
AT_ONCE = 2_000


@dataclass
class Engine:
    """What was measured of one engine: followers a second, and microseconds of Redis for each."""

    name: str
    servers: Any
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def cost(self) -> float:
        return statistics.median(self.cpu)


@contextmanager
def feeds_on(engine: Engine) -> Iterator[None]:
    """Lets this process talk to the engine's servers."""
    from django.conf import settings
    from django.test import override_settings

    with override_settings(MYDJANGOAPP={**settings.MYDJANGOAPP, "REDIS_URL": engine.servers.url()}):
        yield


def fill(author: int, followers: int, ids: int) -> None:
    """An author's follower list, and a feed of so many ids for each."""
    from mydjangoapp.homefeed import feeds_redis, keys

    client: Any = feeds_redis.client()
    old = [str(50_000_000 - number) for number in range(ids)]  # above all photos that are published here
    for first in range(1, followers + 1, AT_ONCE):
        users = range(first, min(first + AT_ONCE, followers + 1))
        pipeline = client.pipeline(transaction=False)
        pipeline.rpush(keys.followers(author), *users)
        for user in users:
            pipeline.rpush(keys.homefeed(user), *old)
        pipeline.execute()


def used_cpu() -> float:
    """Seconds of processor that the feeds' servers have used."""
    from mydjangoapp.homefeed import feeds_redis

    with feeds_redis.edge():
        found: list[Any] = [node.info("cpu") for node in feeds_redis.store().nodes()]
    return sum(float(one["used_cpu_user"]) + float(one["used_cpu_sys"]) for one in found)


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


def measure(engine: Engine, environ: dict[str, str], author: Any, arguments: argparse.Namespace) -> None:
    """One round: a worker of its own, one chain to warm up, and those that count."""
    log = Path(environ["VAR_DIR"]) / "worker.log"
    environ = {**environ, "REDIS_URL": engine.servers.url(), "LOG_LEVEL": "INFO"}
    worker = celery_worker(log, environ, "-c", str(arguments.workers))
    with worker, feeds_on(engine):
        worker.wait_for(lambda: worker_is_ready(worker), seconds=60, what="the worker takes tasks")
        carry(author)
        before = used_cpu()
        for _ in range(arguments.chains):
            engine.rates.append(arguments.followers / carry(author))
        engine.cpu.append((used_cpu() - before) / arguments.chains / arguments.followers * 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=200_000)
    parser.add_argument("--ids", type=int, default=10, help="in each feed at the beginning")
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
            run([single, cluster], environ, arguments)


def run(engines: list[Engine], environ: dict[str, str], arguments: argparse.Namespace) -> None:
    os.environ.update(environ)
    import django

    django.setup()
    from django.contrib.auth import get_user_model

    from mydjangoapp.homefeed import feeds_redis

    author = get_user_model().objects.create(username="celebrity")
    for engine in engines:
        with feeds_on(engine):
            fill(author.pk, arguments.followers, arguments.ids)
    for _ in range(arguments.rounds):
        for engine in engines:
            measure(engine, environ, author, arguments)
    with feeds_on(engines[0]):
        version = ".".join(map(str, feeds_redis.oldest_version()))
    single = engines[0]
    text = (
        f"Redis {version}, Python {platform.python_version()}, {os.cpu_count()} cores, AOF everysec, "
        f"{arguments.followers:,} followers with {arguments.ids} ids each at the beginning, "
        f"{arguments.workers} worker processes, median of {len(single.rates)} chains in one run, in turn.\n\n"
        "| feeds on | followers/s | of one Redis | µs of Redis per follower |\n|---|---:|---:|---:|\n"
    )
    for engine in engines:
        ratio = engine.rate / single.rate
        text += f"| {engine.name} | {engine.rate:,.0f} | {ratio:.2f} | {engine.cost:.2f} |\n"
    print(text)
    if arguments.write:
        keep("cluster", "A cluster", text)


if __name__ == "__main__":
    main()
