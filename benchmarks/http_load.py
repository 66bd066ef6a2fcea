"""Clients that ask a web server again and again, over connections that they keep."""

from __future__ import annotations

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from devtools.servers import LOOPBACK


def load(
    port: int,
    token: str,
    path: str,
    seconds: float,
    connections: int = 4,
    *,
    body: dict[str, Any] | None = None,
    expected: tuple[int, bytes] = (200, b'"results"'),
) -> tuple[list[float], float]:
    """So many clients ask for so long: GET, or POST with a JSON body. Returns their latencies in milliseconds
    and requests a second. Raises `RuntimeError` for an answer of another status, or without that text."""
    until = time.perf_counter() + seconds
    headers = {"Authorization": f"Token {token}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    payload = None if body is None else json.dumps(body)
    status, text = expected

    def client(_: int) -> list[float]:
        latencies = []
        http_client = http.client.HTTPConnection(LOOPBACK, port)
        while time.perf_counter() < until:
            began = time.perf_counter()
            http_client.request("GET" if body is None else "POST", path, payload, headers)
            answer = http_client.getresponse()
            content = answer.read()
            if answer.status != status or text not in content:
                raise RuntimeError(f"{path}: {answer.status} {content[:200]!r}")
            latencies.append((time.perf_counter() - began) * 1000)
        http_client.close()
        return latencies

    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as threads:
        latencies = [one for some in threads.map(client, range(connections)) for one in some]
    return latencies, len(latencies) / (time.perf_counter() - began)
