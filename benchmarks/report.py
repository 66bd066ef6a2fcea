"""The benchmark's tables, as Markdown and as the chart that the README shows."""

from __future__ import annotations

import os
import platform
from typing import Any

from benchmarks.results import RESULTS, keep
from benchmarks.rig import CAP, Way


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


def report(parts: dict[str, dict[str, Any]], *, write: bool) -> None:
    """Prints the tables, and keeps them with figures and chart under `docs/benchmarks`."""
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
    text += f"\nAn author with ten followers who uploads while a chain of {last['large']:,} runs, "
    text += f"to the end of their fan-out: {small}.\n"
    memory = last["memory"]
    text += f"\nMemory per entry of a feed of {CAP} ids: list {memory['list']:.1f} bytes, "
    text += f"zset {memory['zset']:.1f} bytes.\n"
    print(text)
    if not write:
        return
    keep("fanout", "Large fan-outs", text)
    from benchmarks.chart import draw

    draw(by_aof, RESULTS / "fanout.png")
