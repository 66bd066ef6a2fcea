"""`make demo`: the whole site on this machine, and one upload to watch."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import django
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils.crypto import get_random_string
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from devtools import demo_site, scenery
from devtools.cluster import ClusterServers
from devtools.servers import (
    LOOPBACK,
    FeedsServers,
    RedisServer,
    ServerFailed,
    celery_beat,
    celery_worker,
    events_worker,
    free_port,
    in_use,
    web_server,
    worker_is_ready,
)

AUTHOR = "demo-author"
ROWS = 5_000


class Demo(BaseCommand):
    help = "Starts Redis, worker, beat and web server; an author with many followers uploads a photo."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--followers", type=int, default=100_000, help="of the author (100,000)")
        parser.add_argument("--port", type=int, default=8000, help="of the web server (8000)")
        parser.add_argument(
            "--cluster", action="store_true", help="the feeds on three primaries beside that Redis"
        )
        parser.add_argument("--exit", action="store_true", help="end after the print instead of serving on")

    def handle(
        self, *args: Any, followers: int, port: int, cluster: bool, exit: bool, **options: Any
    ) -> None:
        if followers < 1:
            raise CommandError("--followers must be at least 1.")
        if not 0 < port < 65536:
            raise CommandError("--port must be between 1 and 65535.")
        console = Console()
        if in_use(port):
            free = free_port()
            console.print(
                f"Port {port} is in use; the site is served on {free} instead (choose with --port)."
            )
            port = free
        var = Path(settings.VAR)
        signal.signal(signal.SIGTERM, _interrupt)
        signal.signal(signal.SIGHUP, _interrupt)
        try:
            with ExitStack() as stack:
                stack.enter_context(_alone(var))
                self._start(stack, console, var, port, cluster)
                self._show(console, followers, f"http://{LOOPBACK}:{port}")
                if exit:
                    return
                console.print(
                    f"\nServing http://{LOOPBACK}:{port}/ - the API at /docs/, log files in {var}/log. "
                    "Ctrl-C ends it."
                )
                console.print("Commands for this site, in another shell:", self._command(), soft_wrap=True)
                signal.pause()
        except KeyboardInterrupt:
            console.print("\nStopped.")
        except (ServerFailed, OSError) as error:
            raise CommandError(str(error)) from error

    @staticmethod
    def _command() -> str:
        """A command line that finds the demo's servers."""
        names = ("REDIS_URL", "EVENTS_URL", "CELERY_BROKER_URL", "CACHE_URL")
        given = " ".join(f"{name}={os.environ[name]}" for name in names)
        return f"{given} {sys.executable} manage.py fanouts --watch"

    def _start(self, stack: ExitStack, console: Console, var: Path, port: int, cluster: bool) -> None:
        log = var / "log"
        with _step(console, "Redis"):
            redis: RedisServer = stack.enter_context(RedisServer.at(var / "redis"))
        feeds: FeedsServers = redis
        if cluster:
            with _step(console, "three more, joined to a cluster"):
                shutil.rmtree(var / "cluster", ignore_errors=True)  # its nodes had other ports; SQL has all
                feeds = stack.enter_context(ClusterServers(var / "cluster"))
        environ = {
            "REDIS_URL": feeds.url(0),
            "EVENTS_URL": feeds.url(0) if cluster else redis.url(3),
            "CELERY_BROKER_URL": redis.url(1),
            "CACHE_URL": redis.url(2),
        }
        os.environ.update(environ)
        settings.MYDJANGOAPP |= {name: environ[name] for name in ("REDIS_URL", "EVENTS_URL")}
        settings.CACHES["default"]["BACKEND"] = "mydjangoapp.connections.redis_cache.RedisCache"
        settings.CACHES["default"]["LOCATION"] = redis.url(2)
        with suppress(AttributeError):
            del caches["default"]  # Django's checks have made one of the settings before
        with _step(console, "database"):
            call_command("migrate", verbosity=0)
        with _step(console, "worker, beat and web server"):
            for stale in log.glob("*.log"):
                stale.unlink()
            worker = stack.enter_context(celery_worker(log / "worker.log", environ))
            stack.enter_context(celery_beat(log / "beat.log", environ))
            stack.enter_context(events_worker(log / "circles.log", environ, "photos", "circles"))
            web = stack.enter_context(web_server(log / "web.log", environ, port))
            worker.wait_for(lambda: worker_is_ready(worker), seconds=60, what="the worker takes tasks")
            web.wait_for(lambda: in_use(port), seconds=60, what=f"the web server listens on {port}")

    def _show(self, console: Console, followers: int, site: str) -> None:
        author, password = _author()
        with _step(console, "people and their photos"):
            visitor = demo_site.fill(author, password)
        _make_followers(console, author, followers)
        token = _call(f"{site}/token/", {"username": AUTHOR, "password": password})["token"]
        scene = scenery.draw(round(time.time()))
        image = SimpleUploadedFile("scene.jpg", scene.body, "image/jpeg")
        body = {"description": "A photo for everybody", "alt_text": scene.shows, "image": image}
        began = time.monotonic()
        photo = _call(f"{site}/upload/", body, token)
        console.print(
            f"POST /upload/ answered 201 in {(time.monotonic() - began) * 1000:.0f} ms: photo {photo['id']}"
        )
        progress = _watch(console, photo["fanout"], token)
        took = progress["lag_seconds"]
        console.print(
            f"[bold]{progress['reached']:,} of {progress['total']:,} followers served in {took:.2f} s, "
            f"{progress['reached'] / took:,.0f} a second from the upload on[/bold]"
        )
        _print_feed(console, author, site)
        console.print(
            f"\nOpen {site}/ and log in as [bold]{visitor}[/bold], password [bold]{password}[/bold]"
        )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _alone(var: Path) -> Iterator[None]:
    """Two demos would share one Redis directory, and spoil it."""
    var.mkdir(parents=True, exist_ok=True)
    with (var / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(f"Another demo is running on {var}; end it first, or set VAR_DIR.") from error
        yield


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    began = time.monotonic()
    with console.status(f"starting {what}"):
        yield
    console.print(f"{what} ready ({time.monotonic() - began:.1f} s)")


def _author() -> tuple[Any, str]:
    """The demo's author, with a password that this run alone knows."""
    password = get_random_string(12)
    author, _ = get_user_model().objects.get_or_create(username=AUTHOR)
    author.set_password(password)
    author.save()
    return author, password


def _make_followers(console: Console, author: Any, wanted: int) -> None:
    """Users who follow the author, as many as are wanted; those of an earlier run are kept."""
    from mydjangoapp import graph
    from mydjangoapp.homefeed import followers
    from mydjangoapp.models import Follow

    user = get_user_model()
    have = Follow.objects.filter(followee=author).count()
    if have > wanted:
        graph_rows = (
            Follow.objects.filter(followee=author)
            .order_by("id")[wanted:]
            .values_list("follower_id", flat=True)
        )
        with _bar(console, "ending follows of an earlier run") as bar:
            for follower in bar.track(list(graph_rows)):
                graph.unfollow(follower, author)
    if have < wanted:
        with _bar(console, "making followers") as bar:
            line = bar.add_task("followers", total=wanted, completed=have)
            while have < wanted:
                names = [f"follower-{number}" for number in range(have, min(have + ROWS, wanted))]
                # Some may be there from a run that was broken off.
                user.objects.bulk_create(
                    [user(username=name, password="!") for name in names], ignore_conflicts=True
                )
                graph.follow_many(user.objects.filter(username__in=names), author)
                have += len(names)
                bar.update(line, completed=have)
    followers.ensure(author.pk)


def _bar(console: Console, what: str) -> Progress:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


def _call(url: str, body: dict[str, Any] | None = None, token: str | None = None) -> dict[str, Any]:
    has_file = body is not None and "image" in body
    headers = {"Content-Type": MULTIPART_CONTENT if has_file else "application/json"}
    headers |= {"Authorization": f"Token {token}"} if token else {}
    data = None
    if body is not None:
        data = encode_multipart(BOUNDARY, body) if has_file else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)  # noqa: S310  # our own server
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def _watch(console: Console, fanout: str, token: str) -> dict[str, Any]:
    with _bar(console, "carrying the photo") as bar:
        line = bar.add_task("fanout", total=None)
        while True:
            progress = _call(fanout, token=token)
            bar.update(line, total=progress["total"] or None, completed=progress["reached"])
            if progress["state"] not in ("waiting", "running"):
                break
            time.sleep(0.05)
    if progress["state"] != "done":
        raise CommandError(f"the fan-out ended as {progress['state']}; see the worker's log")
    return progress


def _print_feed(console: Console, author: Any, site: str) -> None:
    """What the first follower reads."""
    from rest_framework.authtoken.models import Token

    from mydjangoapp.models import Follow

    follow = Follow.objects.filter(followee=author).order_by("id").select_related("follower")[0]
    token = Token.objects.get_or_create(user=follow.follower)[0].key
    began = time.monotonic()
    page = _call(f"{site}/feed/?limit=5", token=token)
    took = (time.monotonic() - began) * 1000
    console.print(
        f"\nThe home feed of {follow.follower.get_username()}, GET /feed/?limit=5 in {took:.0f} ms:"
    )
    for photo in page["results"]:
        at, name = f"{photo['created_at']:.19}", photo["author"]["username"]
        console.print(f"  {photo['id']}  {at}  {name}: {photo['description']}  {photo['photo_url']}")
    connection.close()
    sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
    django.setup()
    Demo().run_from_argv(["make", "demo", *sys.argv[1:]])
