"""Another client's reads while a chain runs: LRANGE of twenty ids, about 500 times a second."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from types import FrameType

import redis


def main(url: str, followers: int) -> None:
    """Reads until SIGTERM, then prints its latencies in milliseconds as a JSON list."""
    client = redis.Redis.from_url(url, protocol=2)
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


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
