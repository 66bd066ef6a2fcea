"""A graph brought along: `manage.py import_follows` of a million rows on PostgreSQL, in rows a second and
memory.

python -m benchmarks.follows [--follows 1000000] [--authors 50000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.results import keep
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


BARE = """
import csv, sys, time
from django.utils.dateparse import parse_datetime
from django.utils.timezone import make_aware
from more_itertools import batched
from mydjangoapp.models import Follow
began = time.monotonic()
with open(sys.argv[1]) as file:
    next(file)
    for rows in batched(csv.reader(file), 5_000):
        follows = [
            Follow(follower_id=int(one), followee_id=int(other), created_at=make_aware(parse_datetime(at)))
            for one, other, at in rows if one != other
        ]
        Follow.objects.bulk_create(follows, ignore_conflicts=True)
print(f"{Follow.objects.count():,} follows made in {time.monotonic() - began:.1f} s")
Follow.objects.all()._raw_delete("default")
"""
HEAD = """{follows:,} follows of {authors:,} authors, a CSV file, PostgreSQL 15, 2 cores.

The follower lists, which `import_follows` builds after it, are not in these figures.

| way | rows | made | rows/s | peak memory of the command (MB) |
|---|---:|---:|---:|---:|
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--follows", type=int, default=1_000_000)
    parser.add_argument("--authors", type=int, default=50_000)
    parser.add_argument("--no-write", action="store_true", help="print only, leave docs/benchmarks as it is")
    options = parser.parse_args()
    text = HEAD.format(follows=options.follows, authors=options.authors)
    with tempfile.TemporaryDirectory(prefix="feeds-follows-") as name:
        directory = Path(name)
        with RedisServer.at(directory / "redis") as redis, PostgresServer.new() as postgres:
            environ = site_environ(redis, directory, DATABASE_URL=postgres.url())
            _run(environ, "migrate", "-v0")
            users = max(options.authors, options.follows // 10)
            _run(environ, "shell", "-v0", "-c", USERS.replace("sys.argv[1]", str(users)))
            file = directory / "follows.csv"
            _in_own_process(file, options.follows, options.authors, users)
            small = directory / "tenth.csv"
            _in_own_process(small, options.follows // 10, options.authors, users, 2)
            bare = ("shell", "-v0", "-c", BARE.replace("sys.argv[1]", repr(str(file))))
            for path, what, command in (
                (file, "bulk_create, 5,000 a time, no checks", bare),
                (small, "import_follows, a tenth of the file", ("import_follows", str(small))),
                (file, "import_follows", ("import_follows", str(file))),
                (file, "import_follows, once more", ("import_follows", str(file))),
            ):
                said, megabytes = _run(environ, *command)
                made, seconds = re.findall(r"([\d,]+) follows made in ([\d.]+) s", said)[0]
                rows = sum(1 for _ in path.open()) - 1
                text += f"| {what} | {rows:,} | {made} | {rows / float(seconds):,.0f} | {megabytes:,.0f} |\n"
    print(text)
    if not options.no_write:
        keep("follows", "Bringing a graph along", text)


def _in_own_process(*arguments: Any) -> None:
    # A command's peak memory is at least that of the process that starts it.
    writing = multiprocessing.get_context("spawn").Process(target=_write, args=arguments)
    writing.start()
    writing.join()
    if writing.exitcode:
        raise SystemExit(writing.exitcode)


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
    with tempfile.TemporaryFile("w+") as out:
        command = [sys.executable, "manage.py", *arguments]
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environ}, stdout=out, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read()
    if process.returncode:
        raise SystemExit(said)
    return said, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
