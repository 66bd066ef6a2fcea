"""`python -m tests.faults.table redis.json rabbitmq.json`: what runs of the suite have found, as
docs/RELIABILITY.md."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from devtools.servers import ROOT

HEAD = """# Reliability

Written by the fault suite itself (`make reliability`), from the runs named below: real redis-server (one,
and a cluster), RabbitMQ, PostgreSQL, Celery workers and web processes, killed, stopped, filled up and cut
off. The checker's words are [Jepsen's](https://jepsen.io): over followers who were there throughout, *lost*
did not get the photo, *doubled* got it more than once, *unexpected* got it and should not have. *Runs*: task
runs of the chain or chains, at most over the runs of a row. *Recovery*: seconds from the end of the fault
until the ledger says so, at most; the lease is 3 s in these tests, and lease + 30 s is allowed.
"""

NAIVE = """## A naive chain under the same faults

One LPUSH per follower, then the next batch: so that it is known that the checker can find something.
"""


def main(files: Iterable[str]) -> None:
    """Reads the findings of one run per file, named by its stem, and writes the page."""
    found = {Path(file).stem: json.loads(Path(file).read_text()) for file in files}
    page = [HEAD]
    for name, findings in found.items():
        engine = [finding for finding in findings if finding["way"] == "engine"]
        page += [f"## {name}\n", *_table(engine), ""]
    naive = [finding for findings in found.values() for finding in findings if finding["way"] == "naive"]
    page += [
        NAIVE,
        *_table(naive),
        "",
    ]
    (ROOT / "docs" / "RELIABILITY.md").write_text("\n".join(page))


def _table(findings: list[dict[str, Any]]) -> list[str]:
    rows: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for finding in findings:
        rows[finding["row"], finding["test"].partition("[")[0]].append(finding)
    lines = [
        "| | fault | promise | test | times | lost | doubled | unexpected | ends as | runs | recovery |",
        "|---:|---|---|---|---:|---:|---:|---:|---|---:|---:|",
    ]
    for (row, test), some in sorted(rows.items()):
        sums = [sum(finding[name] for finding in some) for name in ("lost", "doubled", "unexpected")]
        most = [max(finding[name] for finding in some) for name in ("runs", "recovery")]
        ends = "/".join(sorted({finding["state"] for finding in some}))
        one = some[0]
        cells = [
            row,
            one["fault"],
            one["promise"],
            f"`{test}`",
            len(some),
            *(f"{number:,}" for number in sums),
        ]
        cells += [ends, f"{most[0]:,}", f"{most[1]:.1f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
