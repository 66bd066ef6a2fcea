"""Servers that have to be installed (`apt-get install postgresql memcached`), for tests and benchmarks:
on loopback, on a free port, under a directory of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .servers import LOOPBACK, Server, ServerFailed, free_port, in_use


def _installed(name: str, package: str) -> str:
    """The newest of that name. Raises `ServerFailed` if there is none."""
    if found := shutil.which(name):
        return found
    # Debian keeps PostgreSQL's programs off the PATH, by version.
    if versions := sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")):
        return str(versions[-1])
    raise ServerFailed(f"There is no {name}: apt-get install {package}.")


@dataclass
class PostgresServer(Server):
    """A new, empty PostgreSQL cluster; it does not survive `stop`."""

    port: int = 0
    directory: Path = Path()

    @classmethod
    def new(cls) -> PostgresServer:
        directory = Path(tempfile.mkdtemp(prefix="feeds-postgres-"))
        as_user: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL will not run as root
            shutil.chown(directory, "postgres")
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data, port = directory / "data", free_port()
        made = subprocess.run(
            [
                *as_user,
                _installed("initdb", "postgresql"),
                "-D",
                str(data),
                "-U",
                "feeds",
                "-A",
                "trust",
                "-N",
            ],
            capture_output=True,
            text=True,
            cwd=directory,
        )
        if made.returncode:
            raise ServerFailed(f"initdb: {made.stderr[-2000:]}")
        command = [*as_user, _installed("postgres", "postgresql"), "-D", str(data), "-p", str(port)]
        command += ["-h", LOOPBACK, "-k", str(directory), "-c", "shared_buffers=256MB"]
        return cls(command, directory / "postgres.log", cwd=directory, port=port, directory=directory)

    def start(self) -> Self:
        super().start()
        ready = [_installed("pg_isready", "postgresql"), "-q", "-h", LOOPBACK, "-p", str(self.port)]
        self.wait_for(
            lambda: subprocess.run(ready).returncode == 0, seconds=60, what="PostgreSQL takes connections"
        )
        return self

    def stop(self) -> None:
        if self.process is not None and self.running:
            self.process.send_signal(signal.SIGINT)  # its "fast" shutdown: does not wait for clients
        super().stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        return f"postgres://feeds@{LOOPBACK}:{self.port}/{database}"


@dataclass
class MemcachedServer(Server):
    """A real memcached."""

    port: int = 0

    @classmethod
    def at(cls, directory: Path) -> MemcachedServer:
        port = free_port()
        command = [_installed("memcached", "memcached"), "-l", LOOPBACK, "-p", str(port), "-U", "0"]
        command += ["-u", "nobody"] if os.geteuid() == 0 else []
        return cls(command, directory / "memcached.log", port=port)

    def start(self) -> Self:
        super().start()
        self.wait_for(lambda: in_use(self.port), seconds=20, what="memcached takes connections")
        return self

    def url(self) -> str:
        return f"memcache://{LOOPBACK}:{self.port}"
