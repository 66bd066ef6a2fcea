"""Another client's reads while a chain runs: LRANGE of twenty ids, about 500 times a second."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from urllib.parse import urlsplit

import redis


def main(url: str, followers: int) -> None:
    """Reads until SIGTERM, then prints its latencies in milliseconds as a JSON list."""
    client = _client(url)
    latencies: list[float] = []
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    client.ping()
    print("ready", flush=True)
    while not stopped and len(latencies) < 1_000_000:
        key = f"homefeed:{random.randint(1, followers)}"  # noqa: S311  # a sample
        began = time.perf_counter()
        client.lrange(key, 0, 19)
        latencies.append((time.perf_counter() - began) * 1000)
        time.sleep(0.002)  # a pace, not a wait: the load has to stay light
    print(json.dumps(latencies))


def _client(url: str) -> redis.Redis | redis.RedisCluster:
    parts = urlsplit(url)
    if parts.scheme != "redis+cluster":
        return redis.Redis.from_url(url, protocol=2)
    host, _, port = parts.netloc.partition(",")[0].rpartition(":")
    return redis.RedisCluster(host=host, port=int(port), protocol=2)


@contextmanager
def reads_meanwhile(url: str, followers: int, latencies: list[float]) -> Iterator[None]:
    """Another process reads feeds of so many followers meanwhile; its latencies are added at the end."""
    command = [sys.executable, "-m", "benchmarks.probe", url, str(followers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as probe:
        assert probe.stdout is not None
        probe.stdout.readline()
        try:
            yield
        finally:
            probe.terminate()
            latencies += json.loads(probe.stdout.read())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
