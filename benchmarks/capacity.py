"""`python -m benchmarks.capacity`: constants of `manage.py capacity`, measured on one Redis and one worker.

Processor time is what Redis and the worker's processes say that they have used, so that it does not matter
who waits for whom. What needs a web server is in the tables of uploads and reading.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.results import keep
from benchmarks.rig import CAP, Bench

FOLLOWERS = 200_000
SMALL, PHOTOS = 50, 400
MANY = 20_000
LPOS = """
local found = 0
for i = 1, 1000 do found = redis.call('LPOS', KEYS[1], ARGV[1]) or found end
return found
"""


def redis_seconds(redis: Any) -> float:
    """Processor time that the server has used."""
    used = redis.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def worker_seconds(pid: int) -> float:
    """Processor time of a worker and its children."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def per(redis: Any, number: int, act: Callable[[], object]) -> float:
    """Microseconds of Redis for each of so many, of what `act` does."""
    before = redis_seconds(redis)
    act()
    return (redis_seconds(redis) - before) / number * 1e6


def measure(directory: Path, rounds: int) -> dict[str, float]:
    """Each constant: microseconds or bytes."""
    import os

    bench = Bench(directory, append_only=True)
    os.environ.update(bench.environ)
    import django

    django.setup()
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    with bench.running():
        redis = bench.redis
        [worker] = [
            process for process in psutil.Process().children() if "worker" in " ".join(process.cmdline())
        ]
        short, full = bench.author("short"), bench.author("full")
        bench.fill(short, FOLLOWERS, 10)
        memory = redis.info("memory")["used_memory"]
        bench.fill(full, FOLLOWERS, CAP, first=1_000_001)
        note("bytes_per_full_feed", (redis.info("memory")["used_memory"] - memory) / FOLLOWERS)
        note("bytes_per_follower", redis.memory_usage(f"followers:{full}", samples=0) / FOLLOWERS)
        floors(redis, note)
        bench.engine(short)
        for _ in range(rounds):
            for name, author in (("short", short), ("full", full)):
                before, began = worker_seconds(worker.pid), redis_seconds(redis)
                bench.engine(author)
                note(f"redis_us_per_push_{name}", (redis_seconds(redis) - began) / FOLLOWERS * 1e6)
                note(f"worker_us_per_push_{name}", (worker_seconds(worker.pid) - before) / FOLLOWERS * 1e6)
            small_fanouts(bench, worker.pid, note)
            note("redis_us_per_lpos_800", per(redis, MANY, lambda: lpos(redis)))
            note("redis_us_per_page", per(redis, MANY, lambda: pages(redis)))
    return {name: statistics.median(values) for name, values in sorted(found.items())}


def lpos(redis: Any) -> None:
    """Looks for an id that is not in a full feed."""
    for _ in range(MANY // 1_000):
        redis.eval(LPOS, 1, "homefeed:1000001", "7")


def floors(redis: Any, note: Callable[[str, float], None]) -> None:
    """What a floor takes."""
    from mydjangoapp.homefeed import keys

    before = redis.info("memory")["used_memory"]
    pipeline = redis.pipeline(transaction=False)
    for user in range(2_000_000, 2_000_000 + MANY):
        pipeline.set(keys.floor(user), 12_345_678)
    pipeline.execute()
    note("bytes_per_floor", (redis.info("memory")["used_memory"] - before) / MANY)


def pages(redis: Any) -> None:
    """Pages of twenty ids, as many at once as a hundred readers ask for."""
    for first in range(0, MANY, 100):
        pipeline = redis.pipeline(transaction=False)
        for user in range(first, first + 100):
            pipeline.lrange(f"homefeed:{1_000_001 + user}", 0, 19)
        pipeline.execute()


def small_fanouts(bench: Bench, worker: int, note: Callable[[str, float], None]) -> None:
    """Photos of an author with fifty followers, to the end of all of them."""
    from django.contrib.auth import get_user_model

    from mydjangoapp import uploads

    author = get_user_model().objects.get(pk=bench.author("small"))
    bench.fill(author.pk, SMALL, 10, first=3_000_000)
    before, began = worker_seconds(worker), redis_seconds(bench.redis)
    photos = [
        uploads.publish(author, description="small", photo_url="https://example.com/p.jpg")
        for _ in range(PHOTOS)
    ]
    for photo in photos:
        bench.wait(lambda: bool(bench.redis.hexists(bench.fanout(photo), "ended")))  # noqa: B023  # at once
    note("worker_us_per_small_fanout", (worker_seconds(worker) - before) / PHOTOS * 1e6)
    note("redis_us_per_small_fanout", (redis_seconds(bench.redis) - began) / PHOTOS * 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="keep the table under docs/benchmarks")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="feeds-bench-") as name:
        found = measure(Path(name), arguments.rounds)
    text = "| constant | measured |\n|---|---:|\n"
    text += "".join(f"| `{name}` | {value:,.2f} |\n" for name, value in found.items())
    print(text)
    print(json.dumps(found))
    if arguments.write:
        keep("capacity", "Constants of the capacity model", text)


if __name__ == "__main__":
    main()
