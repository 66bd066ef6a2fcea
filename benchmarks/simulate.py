"""`python -m benchmarks.simulate`: how long small authors wait beside celebrities, predicted and measured.

The prediction (simpy) knows four figures, which are measured before: what a batch of a chain alone takes of a
worker and of Redis, how long a small fan-out takes alone, and how long it holds up one chain. It makes k
chains, w worker processes and n nodes of them: a queue from which workers take in order, each chain one
message at its tail, nodes that do one thing at a time. Real Celery workers then do the same, and both are
printed. A cluster, and more workers than this machine has processors for, are predicted only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import simpy

from benchmarks.capacity import redis_seconds
from benchmarks.results import keep
from benchmarks.rig import Bench
from mydjangoapp.ops.capacity import Costs

FOLLOWERS = 600_000  # of each celebrity
SMALL = 10  # followers of a small author
BATCH = 10_000
SLICES, IN_FLIGHT = 50, 2  # of a batch: see SLICE_SIZE and SLICES_IN_FLIGHT
ENQUEUE_AT = 0.5  # see homefeed/delivery/slices.py
LANES = 2  # BATCHES_IN_FLIGHT
DEARER = Costs.redis_on_cluster  # a push on a cluster, over one on a single server
PAUSE = 0.05  # seconds between two small uploads


@dataclass(frozen=True)
class Figures:
    """Seconds. Of a worker and of Redis for a batch of a chain that runs alone; lag of a small fan-out when
    nothing else is there; and for how long each holds up a chain."""

    worker: float
    redis: float
    idle: float
    held: float


def simulate(
    figures: Figures, *, chains: int, workers: int, nodes: int, uploads: int, batches: int
) -> list[float]:
    """Lags of small authors: seconds from each upload to its end."""
    env = simpy.Environment()
    hands = simpy.Resource(env, workers)
    servers = [simpy.Resource(env, 1) for _ in range(nodes)]
    # One Redis carries the messages, too; beside a cluster there is a broker.
    broker = servers[0] if nodes == 1 else simpy.Resource(env, 1)
    lags: list[float] = []
    left = [batches * chains]

    def calls(server: simpy.Resource, number: int, seconds: float) -> Generator[Any, Any, None]:
        """One after the other: each waits for those that are there already."""
        for _ in range(number):
            with server.request() as turn:
                yield turn
                yield env.timeout(seconds)

    def link(number: int, before: simpy.Event) -> Generator[Any, Any, None]:
        """A batch. The message of the next one is sent while it runs, and the process that takes that up
        meanwhile waits until this one has ended."""
        ended = env.event()
        with hands.request() as turn:
            yield turn
            yield from calls(broker, 4, 0)  # taken, noted as taken, the next one sent, acknowledged
            yield before
            [server] = servers
            for is_first, share in ((True, ENQUEUE_AT), (False, 1 - ENQUEUE_AT)):
                slices = round(SLICES * share / IN_FLIGHT)
                some = [calls(server, slices, figures.redis / SLICES) for _ in range(IN_FLIGHT)]
                yield env.all_of([env.process(one) for one in some])
                if is_first and number % batches < batches - 1:
                    env.process(link(number + 1, ended))
            yield env.timeout(figures.worker)
        ended.succeed()
        left[0] -= 1

    flying = [0] * chains

    def link_on_cluster(number: int) -> Generator[Any, Any, None]:
        """A batch, pushed to all nodes. The message of the next one is sent when this one is claimed, while
        fewer than `LANES` are under way, else when this one has ended."""
        chain = number // batches
        is_last = number % batches == batches - 1
        with hands.request() as turn:
            yield turn
            yield from calls(broker, 4, 0)
            flying[chain] += 1
            is_sent = flying[chain] < LANES
            if is_sent and not is_last:
                env.process(link_on_cluster(number + 1))
            number_of_calls = max(1, SLICES // nodes)
            seconds = DEARER * figures.redis / nodes / number_of_calls
            slices = [
                calls(servers[(number + one) % nodes], number_of_calls, seconds) for one in range(nodes)
            ]
            yield env.all_of([env.process(one) for one in slices])
            yield env.timeout(figures.worker)
            flying[chain] -= 1
            if not is_sent and not is_last:
                env.process(link_on_cluster(number + 1))
        left[0] -= 1

    def small(at: float) -> Generator[Any, Any, None]:
        yield env.timeout(at)
        began = env.now
        yield from calls(broker, 1, 0)
        with hands.request() as turn:
            yield turn
            yield from calls(broker, 2, 0)  # taken, noted as taken
            yield from calls(servers[0], 2, 0)  # begun, pushed
            if left[0] > 0:
                lags.append(env.now - began + figures.idle)
            yield env.timeout(figures.held)

    for number in range(chains):
        if nodes > 1:
            env.process(link_on_cluster(number * batches))
        else:
            env.process(link(number * batches, env.timeout(0)))
    for upload in range(uploads):
        env.process(small(0.2 + upload * PAUSE))
    env.run()
    return lags


class Real:
    """The same with a real worker."""

    def __init__(self, bench: Bench, most: int) -> None:
        from django.contrib.auth import get_user_model

        self.bench = bench
        self.celebrities = [bench.author(f"celebrity-{number}") for number in range(most)]
        self.small = get_user_model().objects.get(pk=bench.author("small"))
        bench.fill(self.celebrities[0], FOLLOWERS, 10)
        ids = bench.redis.lrange(f"followers:{self.celebrities[0]}", 0, -1)
        for author in self.celebrities[1:]:
            bench.redis.delete(f"followers:{author}")
            for first in range(0, len(ids), 10_000):
                bench.redis.rpush(f"followers:{author}", *ids[first : first + 10_000])
        bench.fill(self.small.pk, SMALL, 10, first=5_000_000)

    def upload(self, author: Any) -> tuple[Any, float]:
        from mydjangoapp import uploads

        at = time.time()
        return uploads.publish(author, description="p", photo_url="https://example.com/p.jpg"), at

    def ended(self, photo: Any) -> float | None:
        """When, in seconds since 1970."""
        found = self.bench.redis.hget(self.bench.fanout(photo), "ended")
        return float(found) if found else None

    def wait(self, photo: Any) -> float:
        began = time.monotonic()
        while (ended := self.ended(photo)) is None:
            if time.monotonic() - began > 120:
                raise TimeoutError("a fan-out did not end within 120 s")
            time.sleep(0.005)  # between two looks
        return ended

    def lags(self, chains: int, uploads: int) -> tuple[list[float], float]:
        """Of small uploads while that many chains run, or of idle workers; and seconds per batch."""
        from django.contrib.auth import get_user_model

        authors = list(get_user_model().objects.filter(pk__in=self.celebrities[:chains]))
        began = time.time()
        running = [self.upload(author)[0] for author in authors]
        time.sleep(0.2)  # as in the simulation
        sent = []
        for _ in range(uploads):
            if running and all(self.ended(photo) for photo in running):
                break
            sent.append(self.upload(self.small))
            time.sleep(PAUSE)  # the pace of the uploads
        ends = [(self.wait(photo), at) for photo, at in sent]
        over = max((self.wait(photo) for photo in running), default=float("inf"))
        per_batch = (over - began) / (chains * FOLLOWERS / BATCH) if chains else 0.0
        return [end - at for end, at in ends if end < over], per_batch


def calibrate(real: Real) -> Figures:
    """A chain alone, and small uploads alone."""
    redis = real.bench.redis
    real.bench.engine(real.celebrities[0])
    before = redis_seconds(redis)
    took = sum(real.bench.engine(real.celebrities[0]) for _ in range(2))
    batches = 2 * FOLLOWERS / BATCH
    of_redis = (redis_seconds(redis) - before) / batches
    idle = statistics.mean(real.lags(0, 30)[0])
    alone, (_, beside) = took / batches, real.lags(1, 10_000)
    held = max(0.001, (beside - alone) / beside * PAUSE)
    return Figures(worker=max(0.0, alone - of_redis), redis=of_redis, idle=idle, held=held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chains", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--uploads", type=int, default=60)
    parser.add_argument("--write", action="store_true", help="keep the table under docs/benchmarks")
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        arguments.part.write_text(json.dumps(compare(arguments)))
        return
    parts = [in_own_process(workers, arguments) for workers in arguments.workers]
    text = (
        f"Celebrities with {FOLLOWERS:,} followers each; authors with {SMALL} followers upload every "
        f"{PAUSE * 1e3:.0f} ms meanwhile; mean lag. One Redis, AOF everysec, {os.cpu_count()} cores.\n\n"
        "| worker processes | celebrities | predicted (ms) | measured (ms) | predicted / measured |\n"
        "|---:|---:|---:|---:|---:|\n"
    )
    for part in parts:
        for workers, chains, predicted, measured in part["rows"]:
            text += f"| {workers} | {chains} | {predicted * 1e3:.0f} | {measured * 1e3:.0f} "
            text += f"| {predicted / measured:.2f} |\n"
    text += "\n" + larger(Figures(**parts[-1]["figures"]))
    print(text)
    if arguments.write:
        keep("simulation", "Lag of small authors", text)


def larger(figures: Figures) -> str:
    """What this machine cannot show."""
    text = "Predicted only, with the figures of the last part, a processor for each process and node:\n\n"
    text += "| worker processes | nodes | celebrities | mean lag (ms) |\n|---:|---:|---:|---:|\n"
    for workers, nodes, chains in ((8, 3, 4), (8, 3, 16), (64, 30, 32), (64, 30, 128)):
        found = simulate(
            figures, chains=chains, workers=workers, nodes=nodes, uploads=200, batches=FOLLOWERS // BATCH
        )
        text += f"| {workers} | {nodes} | {chains} | {statistics.mean(found) * 1e3:.0f} |\n"
    return text


def in_own_process(workers: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """With a Django of its own."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as part:
        command = [
            sys.executable,
            "-m",
            "benchmarks.simulate",
            "--workers",
            str(workers),
            "--part",
            part.name,
        ]
        command += ["--uploads", str(arguments.uploads), "--chains", *map(str, arguments.chains)]
        subprocess.run(command, check=True)
        found: dict[str, Any] = json.load(part)
    return found


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both, for one number of worker processes."""
    [workers] = arguments.workers
    with tempfile.TemporaryDirectory(prefix="feeds-bench-") as name:
        bench = Bench(Path(name), append_only=True)
        os.environ.update(bench.environ)
        import django

        django.setup()
        rows = []
        with bench.running("-c", str(workers)):
            real = Real(bench, max(arguments.chains))
            figures = calibrate(real)
            for chains in arguments.chains:
                measured, _ = real.lags(chains, arguments.uploads)
                predicted = simulate(
                    figures,
                    chains=chains,
                    workers=workers,
                    nodes=1,
                    uploads=len(measured),
                    batches=FOLLOWERS // BATCH,
                )
                rows.append((workers, chains, statistics.mean(predicted), statistics.mean(measured)))
    return {"rows": rows, "figures": asdict(figures)}


if __name__ == "__main__":
    main()
