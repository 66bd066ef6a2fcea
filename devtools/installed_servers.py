"""Servers that have to be installed (`apt-get install postgresql memcached`), for tests and benchmarks:
on loopback, on a free port, under a directory of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from kombu import Connection

from .servers import LOOPBACK, Server, ServerFailed, free_port, in_use, wait_until


def installed(name: str, package: str) -> str:
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
                installed("initdb", "postgresql"),
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
        command = [*as_user, installed("postgres", "postgresql"), "-D", str(data), "-p", str(port)]
        command += ["-h", LOOPBACK, "-k", str(directory), "-c", "shared_buffers=256MB"]
        return cls(command, directory / "postgres.log", cwd=directory, port=port, directory=directory)

    def start(self) -> Self:
        super().start()
        ready = [installed("pg_isready", "postgresql"), "-q", "-h", LOOPBACK, "-p", str(self.port)]
        self.wait_for(
            lambda: subprocess.run(ready).returncode == 0, seconds=60, what="PostgreSQL takes connections"
        )
        return self

    def stop(self) -> None:
        if self.process is not None and self.running:
            self.process.send_signal(signal.SIGINT)  # its "fast" shutdown: does not wait for clients
        super().stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def restart(self) -> None:
        """Off and on again, as a package upgrade does it: clients lose their connections, no row is lost."""
        if self.process is not None and self.running:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
        self.start()

    def url(self, database: str = "postgres") -> str:
        return f"postgres://feeds@{LOOPBACK}:{self.port}/{database}"


@dataclass
class MemcachedServer(Server):
    """A real memcached."""

    port: int = 0

    @classmethod
    def at(cls, directory: Path) -> MemcachedServer:
        port = free_port()
        command = [installed("memcached", "memcached"), "-l", LOOPBACK, "-p", str(port), "-U", "0"]
        command += ["-u", "nobody"] if os.geteuid() == 0 else []
        return cls(command, directory / "memcached.log", port=port)

    def start(self) -> Self:
        super().start()
        self.wait_for(lambda: in_use(self.port), seconds=20, what="memcached takes connections")
        return self

    def url(self) -> str:
        return f"memcache://{LOOPBACK}:{self.port}"


@dataclass
class RabbitServer(Server):
    """A RabbitMQ node of its own, with an epmd of its own; what is durable survives `kill`."""

    port: int = 0
    directory: Path = Path()
    epmd: Server | None = None

    PROGRAMS: ClassVar[Path] = Path("/usr/lib/rabbitmq/bin")
    KEEP_NAMES: ClassVar[tuple[str, ...]] = ("eval", "[dets:sync(Table) || Table <- dets:all()], ok.")

    @classmethod
    def at(cls, directory: Path) -> RabbitServer:
        directory.mkdir(parents=True, exist_ok=True)
        if not (cls.PROGRAMS / "rabbitmq-server").exists():
            raise ServerFailed("There is no rabbitmq-server: apt-get install rabbitmq-server.")
        port, epmd_port = free_port(), free_port()
        (directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {LOOPBACK}:{port}\nlog.console = true\nlog.console.level = warning\n"
            "log.file = false\ndisk_free_limit.absolute = 50MB\n"
        )
        (directory / "enabled_plugins").write_text("[].\n")
        environ = {
            "HOME": str(directory),  # of the Erlang cookie
            "RABBITMQ_NODENAME": "feeds@localhost",
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} "
            "-rabbit quorum_tick_interval 500",  # how old `messages` of a quorum queue may be
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
        }
        epmd = Server([installed("epmd", "erlang-base"), "-port", str(epmd_port)], directory / "epmd.log")
        epmd.environ = {"ERL_EPMD_ADDRESS": LOOPBACK}
        command = [str(cls.PROGRAMS / "rabbitmq-server")]
        log = directory / "rabbitmq.log"
        return cls(command, log, environ, 20.0, directory, port=port, directory=directory, epmd=epmd)

    def start(self) -> Self:
        if self.epmd is not None and not self.epmd.running:
            self.epmd.start()
        super().start()
        self.wait_for(lambda: in_use(self.port), seconds=90, what="RabbitMQ takes connections")
        return self

    def kill(self) -> None:
        """As one is killed that has run for a while: RabbitMQ 3.10 writes the names of its quorum queues to
        disk within three minutes, and one that it knows no longer never finds a leader again."""
        with suppress(ServerFailed, subprocess.TimeoutExpired):  # it does not answer: then as it is
            self._control(*self.KEEP_NAMES)
        self._kill()

    def _kill(self) -> None:
        super().kill()
        # Erlang's process is not our child but our child's: it may be there for a moment yet.
        wait_until(lambda: not in_use(self.port), seconds=30, what="RabbitMQ is gone")

    def stop(self) -> None:
        self._kill()  # what is in it is never needed again, and its own goodbye takes seconds
        if self.epmd is not None:
            self.epmd.stop()

    def messages(self) -> int:
        """How many messages it has, waiting or in a worker's hands."""
        return sum(int(line) for line in self._control("list_queues", "messages").split() if line.isdigit())

    def queue_types(self) -> dict[str, str]:
        """What its queues are: `classic` or `quorum`."""
        lines = self._control("list_queues", "name", "type").splitlines()[1:]
        return dict(line.split("\t") for line in lines)

    def waiting_and_taken(self) -> dict[str, tuple[int, int]]:
        """Of each queue, how many messages wait, and how many workers have in hand."""
        columns = ("name", "messages_ready", "messages_unacknowledged")
        lines = self._control("list_queues", *columns).splitlines()[1:]
        return {name: (int(ready), int(taken)) for name, ready, taken in (line.split("\t") for line in lines)}

    def purge(self) -> None:
        """Throws away what waits."""

        def purged() -> bool:
            with Connection(self.url()) as connection:
                channel: Any = connection.channel()
                try:
                    for name in self.queue_types():
                        channel.queue_purge(name)
                except connection.connection_errors + connection.channel_errors:
                    return False  # one that has no leader yet, or one that went with its worker
                return True

        wait_until(purged, seconds=60, what="each queue has a leader again after a restart")

    def _control(self, *words: str) -> str:
        told = subprocess.run(
            [str(self.PROGRAMS / "rabbitmqctl"), "-q", "-n", "feeds@localhost", *words],
            env={**os.environ, **self.environ},
            capture_output=True,
            text=True,
            timeout=60,
        )
        if told.returncode:
            raise ServerFailed(f"rabbitmqctl: {told.stderr[-2000:]}")
        return told.stdout

    def url(self) -> str:
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}//"
