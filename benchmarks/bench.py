"""`make bench`: the engine beside what people write themselves, on one Redis, in one run.

Every way goes through the same real Celery worker, `celery -A proj worker`. What counts are the
ratios; the machine is named in the table. Bounded: some minutes, some gigabytes of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.report import report, table
from benchmarks.rig import CAP, Bench, Way

SHORT = 10  # ids in a short feed


def measure_ways(bench: Bench, *, rounds: int, short: int, capped: int) -> list[Way]:
    """Each way once a round, in turn, so that a slow spell of the machine meets them all."""
    from benchmarks import ways

    short_author, naive_author = (bench.author(name) for name in ("short", "naive"))
    bench.fill(short_author, short, SHORT)
    bench.fill(naive_author, 20_000, 0)
    idle = Way("nothing (idle)", short)
    naive = Way("naive: one LPUSH per round trip", 20_000)
    pipelined = Way("pipelined: LPUSH and LTRIM, 1,000 a time", 200_000)
    engine = Way("this engine", short)
    at_cap = [
        AtCap(bench, f"this engine, lists at the cap of {CAP}", capped, first=short + 1),
        AtCap(
            bench,
            "the same, list-max-listpack-size 128",
            capped,
            first=short + capped + 1,
            listpack_size=128,
        ),
    ]
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
        for one in at_cap:
            one.run()
        limit.rates.append(bench.limit(short, 1_500_000))
    return [idle, naive, pipelined, engine, *(one.way for one in at_cap), limit]


class AtCap:
    """An author whose followers' lists are full; `listpack_size`: the server's `list-max-listpack-size`."""

    def __init__(
        self, bench: Bench, name: str, followers: int, *, first: int, listpack_size: int = -2
    ) -> None:
        self.way = Way(name, followers)
        self._bench = bench
        self._author = bench.author(name)
        self._listpack_size = listpack_size
        with self._listpacks():
            bench.fill(self._author, followers, CAP, first=first)

    def run(self) -> None:
        """One fan-out."""
        with self._listpacks():
            self.way.rates.append(self.way.followers / self._bench.engine(self._author))

    @contextmanager
    def _listpacks(self) -> Iterator[None]:
        self._bench.redis.config_set("list-max-listpack-size", self._listpack_size)
        try:
            yield
        finally:
            self._bench.redis.config_set("list-max-listpack-size", -2)


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
    bench.wait(lambda: int(bench.redis.hget(bench.fanout(photo), "cursor") or 0) > large // 10)
    took = bench.engine(authors[1].pk)
    if bench.redis.hexists(bench.fanout(photo), "ended"):
        raise RuntimeError("the large chain ended first: this says nothing")
    bench.wait(lambda: bool(bench.redis.hexists(bench.fanout(photo), "ended")))
    return took


def measure_memory(bench: Bench) -> dict[str, float]:
    """Bytes per entry of a feed of 800 recent photo ids, as list and as zset."""
    ids = [50_000_000 + 37 * i for i in range(CAP)]
    bench.redis.lpush("memory:list", *ids)
    bench.redis.zadd("memory:zset", {str(i): i for i in ids})
    return {kind: bench.redis.memory_usage(f"memory:{kind}", samples=0) / CAP for kind in ("list", "zset")}


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
    parser.add_argument("--no-write", action="store_true", help="print only, leave docs/benchmarks as it is")
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
                "large": options.large,
                # Without AOF, so that ten million feeds do not end as gigabytes on disk.
                "sizes": measure_sizes(bench, options.sizes) if options.aof == "off" else [],
            }


if __name__ == "__main__":
    main()
