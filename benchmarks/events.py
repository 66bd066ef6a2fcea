"""Events beside what people would take instead, on one Redis, in one run: messages published a second, and
taken, handled and acknowledged by one process. Part of `make bench`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.results import keep
from devtools.servers import ROOT, RedisServer, Server, site_environ, wait_until

BODY = {"user_id": 1, "circle_id": None, "description": "x" * 50, "photo_url": "https://example.com/p.jpg"}
QUEUE = "bench:list"
PART_SECONDS = 120  # no part takes so long
LIST, EVENTS, ONE_BY_ONE, DRAMATIQ = (
    "RPUSH and LPOP, one by one: nothing is acknowledged (limit of one client)",
    "this: publish_many, run_worker",
    "this: publish, one by one",
    "dramatiq, 8 threads",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--no-write", action="store_true", help="print only")
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        import django

        django.setup()
        print(json.dumps(PARTS[options.part](options.messages)))
        return
    with tempfile.TemporaryDirectory(prefix="feeds-bench-") as directory:
        redis = RedisServer.at(Path(directory) / "redis", append_only=True)
        environ = site_environ(redis, Path(directory), LOG_LEVEL="ERROR")
        with redis:
            _run([sys.executable, "manage.py", "migrate", "-v0"], environ)
            text = measure(environ, options.rounds, options.messages)
    print(text)
    if not options.no_write:
        keep("events", "Events", text)


def _run(command: list[str], environ: dict[str, str]) -> str:
    environ = {**os.environ, **environ, "DJANGO_SETTINGS_MODULE": "proj.settings"}
    ran = subprocess.run(
        command, cwd=ROOT, env=environ, check=True, capture_output=True, text=True, timeout=PART_SECONDS
    )
    return ran.stdout


def measure(environ: dict[str, str], rounds: int, messages: int) -> str:
    """The table. Each part in a process of its own, in turn."""

    def part(name: str, number: int) -> Any:
        out = _run(
            [sys.executable, "-m", "benchmarks.events", "--part", name, "--messages", str(number)], environ
        )
        return json.loads(out.splitlines()[-1])

    rates: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(rounds):
        few = messages // 5
        for way, put, take, number in (
            (LIST, "put_list", "take_list", few),
            (EVENTS, "put_events", "take_events", messages),
            (DRAMATIQ, "put_dramatiq", "take_dramatiq", few),
        ):
            rates[way]["published"].append(part(put, number))
            rates[way]["taken"].append(part(take, number))
        rates[ONE_BY_ONE]["published"].append(part("put_one_by_one", few // 4))
    latencies = part("latency", 300)
    return table(rates, latencies, rounds)


def table(rates: dict[str, dict[str, list[float]]], latencies: list[float], rounds: int) -> str:
    """As Markdown."""
    lines = [
        f"Python {platform.python_version()}, {os.cpu_count()} cores, AOF everysec, median of {rounds} "
        "rounds in one run; bodies of 150 bytes.",
        "",
        "| way | published/s | handled and acknowledged/s by one process |",
        "|---|---:|---:|",
    ]
    for way, of in rates.items():
        shown = [f"{statistics.median(of[name]):,.0f}" if of[name] else "" for name in ("published", "taken")]
        lines.append(f"| {way} | {shown[0]} | {shown[1]} |")
    quantiles = statistics.quantiles(latencies, n=100)
    lines += [
        "",
        f"From `uploads.publish` to the handler of `photo.published` in another process, {len(latencies)} "
        f"uploads, one every 20 ms: p50 {quantiles[49]:.1f} ms, p99 {quantiles[98]:.1f} ms.",
        "",
    ]
    return "\n".join(lines)


def _rate(number: int, act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return number / (time.perf_counter() - began)


def _client() -> Any:
    from mydjangoapp.homefeed import feeds_redis

    return feeds_redis.client()


def put_list(number: int) -> float:
    redis, body = _client(), json.dumps(BODY)
    return _rate(number, lambda: [redis.rpush(QUEUE, body) for _ in range(number)])


def take_list(number: int) -> float:
    redis = _client()

    def take() -> None:
        for _ in range(number):
            json.loads(redis.lpop(QUEUE))

    return _rate(number, take)


def put_events(number: int) -> float:
    from mydjangoapp.events import publish_many
    from mydjangoapp.events.registry import for_topic

    transport = for_topic("bench")
    assert transport is not None  # the site's own Redis
    transport.subscribe("bench", "take")
    return _rate(
        number, lambda: publish_many("bench", "bench.put", ({**BODY, "id": n} for n in range(number)))
    )


def put_one_by_one(number: int) -> float:
    from mydjangoapp.events import publish

    return _rate(number, lambda: [publish("idle", "bench.put", {**BODY, "id": n}) for n in range(number)])


def take_events(number: int) -> float:
    """From the first handler call to the moment at which all are acknowledged."""
    from mydjangoapp.events import Message, Worker, action
    from mydjangoapp.events.registry import for_topic
    from mydjangoapp.events.running import Runner

    class BenchTakeWorker(Worker):
        topic, channel = "bench", "take"
        seen = 0
        began = 0.0

        @action("bench.put")
        def take_handler(self, message: Message) -> None:
            if not self.seen:
                self.began = time.perf_counter()
            self.seen += 1
            if self.seen == number:
                runner.stop()

    transport = for_topic("bench")
    assert transport is not None  # the site's own Redis
    worker = BenchTakeWorker()
    runner = Runner(worker, transport.consumer("bench", "take", timeout=30))
    runner.run()
    rate = number / (time.perf_counter() - worker.began)
    [left] = [one.lag for one in transport.channels() if one.topic == "bench"]
    if left or worker.seen != number:
        raise RuntimeError(f"{worker.seen} handled, {left} not acknowledged")
    return rate


def _dramatiq() -> tuple[Any, Any, list[float]]:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    from mydjangoapp.conf import conf

    broker: Any = RedisBroker(  # type: ignore[no-untyped-call]
        url=conf.REDIS_URL.rpartition("/")[0] + "/5"
    )
    dramatiq.set_broker(broker)
    handled: list[float] = []

    def handle(body: dict[str, Any]) -> None:
        handled.append(time.perf_counter())

    actor: Any = dramatiq.actor(actor_name="handle")(handle)
    return broker, actor, handled


def put_dramatiq(number: int) -> float:
    _, actor, _ = _dramatiq()
    return _rate(number, lambda: [actor.send(BODY) for _ in range(number)])


def take_dramatiq(number: int) -> float:
    import dramatiq

    broker, actor, handled = _dramatiq()
    worker = dramatiq.Worker(broker, worker_threads=8)
    worker.start()
    broker.join(actor.queue_name, timeout=600_000)
    ended = time.perf_counter()
    worker.stop()
    if len(handled) != number:
        raise RuntimeError(f"{len(handled)} of {number} handled")
    return number / (ended - handled[0])


def latency(number: int) -> list[float]:
    """Milliseconds of each upload."""
    from django.contrib.auth import get_user_model

    from mydjangoapp import uploads

    author = get_user_model().objects.create(username=f"latency-{os.getpid()}")
    log = Path(tempfile.mkdtemp(prefix="feeds-bench-")) / "times"
    command = [sys.executable, "-m", "benchmarks.events", "--part", "note_times", "--messages", str(number)]
    listener = Server(command, log)
    with listener:
        wait_until(_is_listening, seconds=30, what="the worker listens")
        for n in range(number):
            uploads.publish(author, description=str(n), photo_url="https://example.com/p.jpg")
            time.sleep(0.02)  # the pace: an idle machine, not a full one
        wait_until(lambda: not listener.running, seconds=60, what="all have arrived")
    arrived: list[float] = json.loads(log.read_text().splitlines()[-1])
    return [1000 * one for one in arrived]


def _is_listening() -> bool:
    from mydjangoapp.events.redis_streams import keys
    from mydjangoapp.events.redis_streams.server import beside_the_feeds, store

    client: Any = store(beside_the_feeds()).client()
    return bool(
        client.exists(keys.stream("photos")) and client.xinfo_consumers(keys.stream("photos"), "times")
    )


def note_times(number: int) -> list[float]:
    """Seconds from `published_at` to the handler."""
    from datetime import UTC, datetime

    from mydjangoapp.events import Message, Worker, action
    from mydjangoapp.events.registry import for_topic
    from mydjangoapp.events.running import Runner

    class PhotosTimesWorker(Worker):
        topic, channel = "photos", "times"

        def __init__(self) -> None:
            super().__init__()
            self.took: list[float] = []

        @action("photo.published")
        def note_handler(self, message: Message) -> None:
            at = datetime.fromisoformat(message.published_at)
            self.took.append((datetime.now(UTC) - at).total_seconds())
            if len(self.took) == number:
                runner.stop()

    transport = for_topic("photos")
    assert transport is not None  # the site's own Redis
    worker = PhotosTimesWorker()
    runner = Runner(worker, transport.consumer("photos", "times", timeout=30))
    runner.run()
    return worker.took


PARTS: dict[str, Callable[[int], Any]] = {
    made.__name__: made
    for made in (
        put_list,
        take_list,
        put_events,
        take_events,
        put_one_by_one,
        put_dramatiq,
        take_dramatiq,
        latency,
        note_times,
    )
}

if __name__ == "__main__":
    main()
