"""`GET /feed/` beside the best SQL join on PostgreSQL, and a constant page as the limit.

One web server for all, one process with a few threads; requests by HTTP over kept connections, ways in
turn, so that a slow spell of the machine meets them all. What counts are the ratios.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.http_load import load
from benchmarks.results import keep
from benchmarks.rig import Way
from devtools.installed_servers import PostgresServer
from devtools.servers import LOOPBACK, RedisServer, Server, free_port, in_use, site_environ

AUTHORS = 20_000
FILL = """
INSERT INTO auth_user (username, password, email, first_name, last_name, is_staff, is_active, is_superuser,
                       date_joined)
SELECT 'user-' || i, '!', '', '', '', false, true, false, now() FROM generate_series(1, {users}) AS i;
INSERT INTO mydjangoapp_photo (user_id, description, photo_url, image, created_at, like_count, pulled)
SELECT {author}, 'photo number ' || i, 'https://example.com/photos/' || i || '.jpg', '',
       now(), 0, false FROM generate_series(1::bigint, {photos}) AS i;
"""
FOLLOW = """
INSERT INTO mydjangoapp_follow (follower_id, followee_id, created_at)
SELECT {me}, {followee}, now() FROM generate_series(1, {number}) AS i;
"""


WORLDS = {
    "equal": (
        "every author posts as often as any other",
        "1 + (i * 7919) % {authors}",
        "1 + (i * 3) % {authors}",
    ),
    # Few authors post most photos, as Zipf found for words; readers follow some of the quieter half.
    "unequal": (
        "few authors post most photos, readers follow quiet ones",
        "1 + floor({authors} * power((i * 7919 % 1000003) / 1000003.0, 5))::int",
        "{authors} - (i * 3) % ({authors} / 2)",
    ),
}
WAYS = {
    "constant": ("constant page, REST framework's classes (limit)", "/constant/"),
    "here": ("constant page, this app's classes", "/constant-here/"),
    "feed": ("GET /feed/", "/feed/?limit=20"),
    "join": ("SQL join, lateral", "/join/"),
    "backwards": ("SQL join, newest first", "/backwards/"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=2_000_000)
    parser.add_argument("--followees", type=int, nargs="*", default=[10, 200, 1_000, 5_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each way in each round")
    parser.add_argument("--no-write", action="store_true")
    parser.add_argument("--world", choices=WORLDS, help="one of them only, nothing is written")
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        options.part.write_text(world(options))
        return
    text = "\n".join(_in_own_process(name) for name in ([options.world] if options.world else WORLDS))
    print(text)
    if not (options.no_write or options.world):
        keep("reading", "Reading a feed", text)


def _in_own_process(name: str) -> str:
    """One world, with servers and a Django of its own."""
    with tempfile.NamedTemporaryFile("r", suffix=".md") as part:
        command = [sys.executable, "-m", "benchmarks.reading", *sys.argv[1:], "--world", name]
        subprocess.run([*command, "--part", part.name], check=True)
        return part.read()


def world(options: argparse.Namespace) -> str:
    """All ways for all readers of one world, as Markdown."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = stack.enter_context(PostgresServer.new())
        redis = stack.enter_context(RedisServer.at(directory / "redis"))
        environ = site_environ(redis, directory, DATABASE_URL=postgres.url(), LOG_LEVEL="ERROR")
        os.environ.update(environ)
        tokens = fill(options.photos, options.followees, options.world)
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "benchmarks.reading_wsgi", "--threads", "4"]
        command += ["--bind", f"{LOOPBACK}:{port}", "--worker-class", "gthread", "--keep-alive", "60"]
        web = stack.enter_context(Server(command, directory / "web.log", environ))
        web.wait_for(lambda: in_use(port), seconds=60, what="the web server listens")
        found = {number: measure(port, tokens[number], number, options) for number in options.followees}
    return table(found, options.photos, WORLDS[options.world][0])


def fill(photos: int, followees: list[int], world: str) -> dict[int, str]:
    """Users, photos and follows by SQL; returns a reader's token for each number of followees."""
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connection
    from rest_framework.authtoken.models import Token

    call_command("migrate", verbosity=0)
    tokens = {}
    _, author, followee = (text.format(authors=AUTHORS) for text in WORLDS[world])
    with connection.cursor() as cursor:
        cursor.execute(FILL.format(author=author, users=AUTHORS, photos=photos))
        for number in followees:
            me = get_user_model().objects.create(username=f"reader-{number}")
            cursor.execute(FOLLOW.format(me=me.pk, followee=followee, number=number))
            tokens[number] = Token.objects.create(user=me).key
        cursor.execute("VACUUM ANALYZE")
    connection.close()
    return tokens


def measure(port: int, token: str, followees: int, options: argparse.Namespace) -> dict[str, Way]:
    """All ways for one reader: requests a second, and their latencies in milliseconds."""
    found = {key: Way(name, followees) for key, (name, _) in WAYS.items()}
    for _, path in WAYS.values():
        load(port, token, path, 0.3)
    for _ in range(options.rounds):
        for key, (_, path) in WAYS.items():
            latencies, rate = load(port, token, path, options.seconds)
            found[key].latencies += latencies
            found[key].rates.append(rate)
    return found


def table(found: dict[int, dict[str, Way]], photos: int, world: str) -> str:
    """The figures as Markdown."""
    lines = [
        f"A page of 20 photos of {photos:,}; {world}. PostgreSQL 15, one web process with four threads, "
        "four clients.",
        "",
        "| followees | way | requests/s | of the limit | p50, p99 (ms) |",
        "|---:|---|---:|---:|---:|",
    ]
    for number, ways in found.items():
        limit = ways["constant"].rate
        lines += [
            f"| {number:,} | {measured.name} | {measured.rate:,.0f} | 1/{limit / measured.rate:.1f} | "
            f"{measured.percentile(50):.1f}, {measured.percentile(99):.1f} |"
            for measured in ways.values()
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
