"""`POST /upload/` beside a bare view that checks the same body and saves one row, under sixteen clients.

PostgreSQL, the broker in Redis, one web server for both, in turn. What counts is the ratio.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.http_load import load
from benchmarks.results import keep
from benchmarks.rig import Way
from devtools.installed_servers import PostgresServer
from devtools.servers import LOOPBACK, RedisServer, Server, free_port, in_use, site_environ

CLIENTS = 16
BODY = {"description": "a photo", "photo_url": "https://example.com/p.jpg"}
WAYS = {"bare": ("a bare view that saves one row", "/bare/"), "upload": ("POST /upload/", "/upload/")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each way in each round")
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = stack.enter_context(PostgresServer.new())
        redis = stack.enter_context(RedisServer.at(directory / "redis"))
        environ = site_environ(redis, directory, DATABASE_URL=postgres.url(), LOG_LEVEL="ERROR")
        environ["MYDJANGOAPP_UPLOAD_RATE"] = "1000000/min"
        os.environ.update(environ)
        token = make_user()
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "benchmarks.reading_wsgi", "--threads", "16"]
        command += ["--bind", f"{LOOPBACK}:{port}", "--worker-class", "gthread", "--keep-alive", "60"]
        web = stack.enter_context(Server(command, directory / "web.log", environ))
        web.wait_for(lambda: in_use(port), seconds=60, what="the web server listens")
        ways = {name: Way(said, CLIENTS) for name, (said, _) in WAYS.items()}
        for number in range(options.rounds + 1):
            for name, (_, path) in WAYS.items():
                seconds = options.seconds if number else 0.5  # the first round warms up
                latencies, rate = load(
                    port, token, path, seconds, CLIENTS, body=BODY, expected=(201, b'"photo_url"')
                )
                if number:
                    ways[name].latencies += latencies
                    ways[name].rates.append(rate)
    text = table(ways)
    print(text)
    if not options.no_write:
        keep("uploads", "Uploading", text)


def make_user() -> str:
    """A user's token."""
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connection
    from rest_framework.authtoken.models import Token

    call_command("migrate", verbosity=0)
    token = Token.objects.create(user=get_user_model().objects.create(username="uploader")).key
    connection.close()
    return str(token)


def table(ways: dict[str, Way]) -> str:
    """The figures as Markdown."""
    bare = ways["bare"]
    lines = [
        f"{CLIENTS} clients, PostgreSQL 15, the broker in Redis, one web process with sixteen threads, "
        f"{os.cpu_count()} cores.",
        "",
        "| way | uploads/s | p50, p99 (ms) | p99, times bare |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {way.name} | {way.rate:,.0f} | {way.percentile(50):.1f}, {way.percentile(99):.1f} | "
        f"{way.percentile(99) / bare.percentile(99):.2f} |"
        for way in ways.values()
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
