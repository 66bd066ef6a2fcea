"""What the benchmark measures on: a Redis, a database and a worker of its own; and one way's figures."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.probe import reads_meanwhile
from devtools.servers import LOOPBACK, RedisServer, celery_worker, site_environ, worker_is_ready

CAP = 800  # ids in a feed at its cap
FILL = """
local first, count, ids = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
-- Far above the ids of photos that are published here: a feed that has the photo already is another case.
for i = 1, tonumber(ARGV[3]) do ids[i] = 50000000 + tonumber(ARGV[3]) - i end
for user = first, first + count - 1 do
  if ARGV[5] ~= '' then redis.call('RPUSH', ARGV[5], user) end
  for from = 1, #ids, 1000 do
    redis.call('RPUSH', ARGV[4] .. user, unpack(ids, from, math.min(from + 999, #ids)))
  end
end
"""


@dataclass
class Way:
    """One way's measurements: followers (or pushes) a second, and others' read latencies meanwhile."""

    name: str
    followers: int
    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    def percentile(self, percent: int) -> float:
        return statistics.quantiles(self.latencies, n=100)[percent - 1] if self.latencies else 0.0


class Bench:
    """A Redis, a database and a worker, all of this run's own."""

    def __init__(self, directory: Path, *, append_only: bool) -> None:
        # Rewriting the AOF in the background would take one of two cores from whoever runs then.
        self.redis_server = RedisServer.at(
            directory / "redis", append_only=append_only, options=["--auto-aof-rewrite-percentage", "0"]
        )
        self.environ = site_environ(self.redis_server, directory, LOG_LEVEL="WARNING")
        self.worker_log = directory / "worker.log"
        self.photo = 10_000_000

    @contextmanager
    def running(self, *options: str) -> Iterator[Bench]:
        """With a worker that has these options."""
        with self.redis_server:
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "-v0"],
                env={**os.environ, **self.environ},
                check=True,
            )
            environ = {**self.environ, "LOG_LEVEL": "INFO"}
            worker = celery_worker(self.worker_log, environ, "-I", "benchmarks.ways", *options)
            with worker:
                worker.wait_for(lambda: worker_is_ready(worker), seconds=30, what="the worker takes tasks")
                yield self

    @property
    def redis(self) -> Any:
        from mydjangoapp.homefeed import feeds_redis

        return feeds_redis.client()

    def author(self, name: str) -> int:
        from django.contrib.auth import get_user_model

        return int(get_user_model().objects.get_or_create(username=name)[0].pk)

    def fill(self, author: int, followers: int, ids: int, *, first: int = 1) -> None:
        """An author's follower list, and a feed of so many ids for each follower."""
        self.redis.delete(f"followers:{author}")
        for start in range(first, first + followers, 1_000):
            count = min(1_000, first + followers - start)
            self.redis.eval(FILL, 0, start, count, ids, "homefeed:", f"followers:{author}")

    def fanout(self, photo: Any) -> str:
        """The key of its counters."""
        from mydjangoapp.homefeed import keys

        return keys.fanout(photo.author_key, photo.pk)

    def engine(self, author: int) -> float:
        """Seconds from the upload to the end of its fan-out."""
        from django.contrib.auth import get_user_model

        from mydjangoapp import uploads

        user = get_user_model().objects.get(pk=author)
        began = time.perf_counter()
        photo = uploads.publish(user, description="bench", photo_url="https://example.com/p.jpg")
        self.wait(lambda: bool(self.redis.hexists(self.fanout(photo), "ended")))
        return time.perf_counter() - began

    def chain(self, task: Any, author: int) -> float:
        """Seconds that another way's chain takes."""
        self.photo += 1
        began = time.perf_counter()
        task.delay(self.photo, author)
        self.wait(lambda: bool(self.redis.exists(f"ways-ended:{self.photo}")))
        return time.perf_counter() - began

    @staticmethod
    def wait(condition: Callable[[], bool]) -> None:
        """Waits for an end; raises `TimeoutError` after five minutes."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > 300:
                raise TimeoutError("a chain did not end within 300 s")
            time.sleep(0.005)  # between two looks, so that looking costs Redis nothing

    def limit(self, keys: int, pushes: int) -> float:
        """`redis-benchmark -P 100 lpush` onto random feeds: pushes a second."""
        found = shutil.which(
            "redis-benchmark", path=os.environ.get("REDIS_BENCHMARK_PATH", os.environ["PATH"])
        )
        if not found:
            raise SystemExit("redis-benchmark is not on PATH: apt-get install redis-tools")
        command = [found, "-h", LOOPBACK, "-p", str(self.redis_server.port), "-P", "100", "-r", str(keys)]
        command += ["-n", str(pushes), "--csv", "lpush", "homefeed:__rand_int__", "4711"]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return float(answer.strip().splitlines()[-1].split(",")[1].strip('"'))

    @contextmanager
    def probed(self, way: Way) -> Iterator[None]:
        """Another process reads feeds meanwhile; its latencies go to `way`."""
        with reads_meanwhile(self.redis_server.url(0), way.followers, way.latencies):
            yield
