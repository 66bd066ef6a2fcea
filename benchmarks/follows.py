"""A graph brought along: `manage.py import_follows` of a million rows on PostgreSQL, in rows a second and
memory.

python -m benchmarks.follows [--follows 1000000] [--authors 50000]
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from devtools.installed_servers import PostgresServer
from devtools.servers import ROOT, RedisServer, site_environ

USERS = """
import sys
from django.contrib.auth import get_user_model
from more_itertools import batched
User = get_user_model()
for numbers in batched(range(1, int(sys.argv[1]) + 1), 10_000):
    User.objects.bulk_create(User(id=n, username=f"u{n}", password="!") for n in numbers)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--follows", type=int, default=1_000_000)
    parser.add_argument("--authors", type=int, default=50_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="feeds-follows-") as name:
        directory = Path(name)
        with RedisServer.at(directory / "redis") as redis, PostgresServer.new() as postgres:
            environ = site_environ(redis, directory, DATABASE_URL=postgres.url())
            _run(environ, "migrate", "-v0")
            users = max(options.authors, options.follows // 10)
            _run(environ, "shell", "-v0", "-c", USERS.replace("sys.argv[1]", str(users)))
            file = directory / "follows.csv"
            _write(file, options.follows, options.authors, users)
            small = directory / "tenth.csv"
            _write(small, options.follows // 10, options.authors, users, seed=2)
            for path, what in ((small, "a tenth"), (file, "all"), (file, "all, once more")):
                said, megabytes = _run(environ, "import_follows", str(path))
                made, seconds = re.findall(r"([\d,]+) follows made in ([\d.]+) s", said)[0]
                rows = sum(1 for _ in path.open()) - 1
                print(
                    f"{what}: {rows:,} rows, {made} made, {rows / float(seconds):,.0f} rows/s, "
                    f"peak {megabytes:,.0f} MB; {said.splitlines()[-1]}"
                )


def _write(path: Path, follows: int, authors: int, users: int, seed: int = 1) -> None:
    """Few authors have most followers, as everywhere."""
    draw = random.Random(seed)  # noqa: S311  # not a secret
    pairs: set[tuple[int, int]] = set()
    while len(pairs) < follows:
        author = int(authors * draw.random() ** 3) + 1
        pairs.add((draw.randint(1, users), author))
    with path.open("w") as file:
        file.write("follower,followee,created\n")
        for number, (follower, author) in enumerate(pairs):
            moment = f"{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}"
            file.write(f"{follower},{author},2020-01-01 {moment}\n")


def _run(environ: dict[str, str], *arguments: str) -> tuple[str, float]:
    """What a command of the site says, and its peak memory in MB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    ran = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        raise SystemExit(ran.stdout + ran.stderr)
    return ran.stdout, max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


if __name__ == "__main__":
    main()
