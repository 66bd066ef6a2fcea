"""`make bench`: the engine beside what people write themselves, on one Redis, in one run.

Every way goes through the same real Celery worker, `celery -A proj worker`. What counts are the
ratios; the machine is named in the table. Bounded: some minutes, some gigabytes of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from proj.servers import (
    LOOPBACK,
    RedisServer,
    celery_worker,
    site_environ,
    worker_is_ready,
)

RESULTS = Path(__file__).parent / "results"
SHORT = 10  # ids in a short feed
CAP = 800  # ids in a feed at its cap
FILL = """
local first, count, ids = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
for i = 1, tonumber(ARGV[3]) do ids[i] = tonumber(ARGV[3]) - i + 1 end
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
    def running(self) -> Iterator[Bench]:
        with self.redis_server:
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "-v0"],
                env={**os.environ, **self.environ},
                check=True,
            )
            environ = {**self.environ, "LOG_LEVEL": "INFO"}
            worker = celery_worker(self.worker_log, environ, "-I", "benchmarks.ways")
            with worker:
                worker.wait_for(lambda: worker_is_ready(worker), seconds=30, what="the worker takes tasks")
                yield self

    @property
    def redis(self) -> Any:
        from mydjangoapp.homefeed import connection

        return connection.client()

    def author(self, name: str) -> int:
        from django.contrib.auth import get_user_model

        return int(get_user_model().objects.get_or_create(username=name)[0].pk)

    def fill(self, author: int, followers: int, ids: int, *, first: int = 1) -> None:
        """An author's follower list, and a feed of so many ids for each follower."""
        self.redis.delete(f"followers:{author}")
        for start in range(first, first + followers, 1_000):
            count = min(1_000, first + followers - start)
            self.redis.eval(FILL, 0, start, count, ids, "homefeed:", f"followers:{author}")

    def engine(self, author: int) -> float:
        """Seconds from the upload to the end of its fan-out."""
        from django.contrib.auth import get_user_model

        from mydjangoapp import uploads

        user = get_user_model().objects.get(pk=author)
        began = time.perf_counter()
        photo = uploads.publish(user, description="bench", photo_url="https://example.com/p.jpg")
        self._wait(lambda: bool(self.redis.hexists(f"fanout:{photo.pk}", "ended")))
        return time.perf_counter() - began

    def chain(self, task: Any, author: int) -> float:
        """Seconds that another way's chain takes."""
        self.photo += 1
        began = time.perf_counter()
        task.delay(self.photo, author)
        self._wait(lambda: bool(self.redis.exists(f"ways-ended:{self.photo}")))
        return time.perf_counter() - began

    @staticmethod
    def _wait(condition: Callable[[], bool]) -> None:
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > 300:
                raise TimeoutError("a chain did not end within 300 s")
            time.sleep(0.005)

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
        command = [sys.executable, "-m", "benchmarks.probe", self.redis_server.url(0), str(way.followers)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as probe:
            assert probe.stdout is not None
            probe.stdout.readline()
            try:
                yield
            finally:
                probe.terminate()
                way.latencies += json.loads(probe.stdout.read())


def measure_ways(bench: Bench, *, rounds: int, short: int, capped: int) -> list[Way]:
    """Each way once a round, in turn, so that a slow spell of the machine meets them all."""
    from benchmarks import ways

    short_author, naive_author, capped_author = (bench.author(name) for name in ("short", "naive", "capped"))
    bench.fill(short_author, short, SHORT)
    bench.fill(naive_author, 20_000, 0)
    bench.fill(capped_author, capped, CAP, first=short + 1)
    idle = Way("nothing (idle)", short)
    naive = Way("naive: one LPUSH per round trip", 20_000)
    pipelined = Way("pipelined: LPUSH and LTRIM, 1,000 a time", 200_000)
    engine = Way("this engine", short)
    at_cap = Way(f"this engine, lists at the cap of {CAP}", capped)
    limit = Way("redis-benchmark -P 100 lpush", short)
    piped_author = bench.author("piped")
    bench.fill(piped_author, pipelined.followers, 0)
    bench.engine(short_author)  # warms the worker's processes up
    for _ in range(rounds):
        with bench.probed(idle):
            time.sleep(2)  # the length of the sample
        with bench.probed(naive):
            naive.rates.append(naive.followers / bench.chain(ways.naive, naive_author))
        with bench.probed(pipelined):
            pipelined.rates.append(pipelined.followers / bench.chain(ways.pipelined, piped_author))
        with bench.probed(engine):
            bench.engine(short_author)
        engine.rates.append(short / bench.engine(short_author))
        at_cap.rates.append(capped / bench.engine(capped_author))
        limit.rates.append(bench.limit(short, 1_500_000))
    return [idle, naive, pipelined, engine, at_cap, limit]


def measure_sizes(bench: Bench, sizes: list[int]) -> list[tuple[int, float]]:
    """Seconds per upload by number of followers; the feeds are there and short."""
    took = []
    for size in sizes:
        author = bench.author(f"size {size}")
        bench.fill(author, size, 0)
        bench.engine(author)  # makes the feeds that are not there yet
        took.append((size, min(bench.engine(author) for _ in range(2 if size > 10**6 else 3))))
        bench.redis.delete(f"followers:{author}")
    return took


def measure_small_author(bench: Bench, large: int) -> float:
    """Seconds from the upload of an author with ten followers to its end, while a large chain runs."""
    from django.contrib.auth import get_user_model

    from mydjangoapp import uploads

    authors = [get_user_model().objects.get(pk=bench.author(name)) for name in ("large", "small")]
    bench.fill(authors[0].pk, large, 0)
    bench.fill(authors[1].pk, 10, 0)
    photo = uploads.publish(authors[0], description="large", photo_url="https://example.com/p.jpg")
    bench._wait(lambda: int(bench.redis.hget(f"fanout:{photo.pk}", "cursor") or 0) > large // 10)
    took = bench.engine(authors[1].pk)
    if bench.redis.hexists(f"fanout:{photo.pk}", "ended"):
        raise RuntimeError("the large chain ended first: this says nothing")
    bench._wait(lambda: bool(bench.redis.hexists(f"fanout:{photo.pk}", "ended")))
    return took


def measure_memory(bench: Bench) -> dict[str, float]:
    """Bytes per entry of a feed of 800 recent photo ids, as list and as zset."""
    ids = [50_000_000 + 37 * i for i in range(CAP)]
    bench.redis.lpush("memory:list", *ids)
    bench.redis.zadd("memory:zset", {str(i): i for i in ids})
    return {kind: bench.redis.memory_usage(f"memory:{kind}", samples=0) / CAP for kind in ("list", "zset")}


def table(by_aof: dict[str, list[Way]]) -> str:
    lines = []
    for aof, ways in by_aof.items():
        rates = {way.name: way.rate for way in ways if way.rates}
        naive = next(way.rate for way in ways if way.name.startswith("naive"))
        idle = next(way for way in ways if way.name.startswith("nothing"))
        limit = rates["redis-benchmark -P 100 lpush"]
        lines += [
            f"\nAOF {aof}\n",
            "| way | followers/s | times naive | of redis-benchmark | others' p50, p99 (ms) |",
        ]
        lines += ["|---|---:|---:|---:|---:|", f"| {idle.name} | | | | {_latency(idle)} |"]
        for way in ways:
            if way.rates:
                ratios = f"{way.rate / naive:.1f} | {way.rate / limit:.2f}"
                lines.append(f"| {way.name} | {way.rate:,.0f} | {ratios} | {_latency(way)} |")
    return "\n".join(lines)


def _latency(way: Way) -> str:
    return f"{way.percentile(50):.2f}, {way.percentile(99):.2f}" if way.latencies else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", type=int, default=500_000, help="followers with short feeds")
    parser.add_argument("--capped", type=int, default=100_000, help="followers with feeds at the cap")
    parser.add_argument(
        "--large",
        type=int,
        default=1_500_000,
        help="followers of the author whose chain a small one has to pass",
    )
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--aof", choices=["everysec", "off", "both"], default="both")
    parser.add_argument(
        "--no-write", action="store_true", help="print only, leave benchmarks/results as it is"
    )
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        options.part.write_text(json.dumps(measure(options)))
        return
    parts = {aof: _in_own_process(aof) for aof in _modes(options.aof)}
    report(parts, write=not options.no_write)


def _modes(aof: str) -> list[str]:
    return ["everysec", "off"] if aof == "both" else [aof]


def _in_own_process(aof: str) -> dict[str, Any]:
    """One AOF mode, with a Django of its own that is set up for that mode's Redis."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as part:
        command = [sys.executable, "-m", "benchmarks.bench", *sys.argv[1:], "--aof", aof, "--part", part.name]
        subprocess.run(command, check=True)
        found: dict[str, Any] = json.load(part)
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything for one AOF mode, as JSON."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), append_only=options.aof == "everysec")
        os.environ.update(bench.environ)
        import django

        django.setup()
        with bench.running():
            ways = measure_ways(bench, rounds=options.rounds, short=options.short, capped=options.capped)
            print(table({options.aof: ways}), flush=True)
            bench.redis.flushall()
            return {
                "redis": bench.redis.info("server")["redis_version"],
                "ways": [asdict(way) for way in ways],
                "memory": measure_memory(bench),
                "small": measure_small_author(bench, options.large),
                # Without AOF, so that ten million feeds do not end as gigabytes on disk.
                "sizes": measure_sizes(bench, options.sizes) if options.aof == "off" else [],
            }


def report(parts: dict[str, dict[str, Any]], *, write: bool) -> None:
    """Prints the tables, and keeps them with figures and chart under `benchmarks/results`."""
    by_aof = {aof: [Way(**way) for way in part["ways"]] for aof, part in parts.items()}
    last = list(parts.values())[-1]
    text = f"Redis {last['redis']}, Python {platform.python_version()}, {os.cpu_count()} cores, "
    text += f"median of {len(by_aof[next(iter(by_aof))][-1].rates)} rounds in one run. "
    text += "Others: another client's LRANGE of 20 ids, 400 times a second, meanwhile.\n"
    text += table(by_aof) + "\n"
    if last["sizes"]:
        text += "\n| followers | seconds | µs per follower |\n|---:|---:|---:|\n"
        text += "".join(
            f"| {size:,} | {took:.2f} | {took / size * 1e6:.2f} |\n" for size, took in last["sizes"]
        )
    small = ", ".join(f"{part['small'] * 1000:.0f} ms (AOF {aof})" for aof, part in parts.items())
    text += "\nAn author with ten followers who uploads while a chain of 1.5 million runs, to the end of his "
    text += f"fan-out: {small}.\n"
    memory = last["memory"]
    text += f"\nMemory per entry of a feed of {CAP} ids: list {memory['list']:.1f} bytes, "
    text += f"zset {memory['zset']:.1f} bytes.\n"
    print(text)
    if not write:
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fanout.md").write_text(text)
    from benchmarks.chart import draw

    draw(by_aof, RESULTS / "fanout.png")


if __name__ == "__main__":
    main()
