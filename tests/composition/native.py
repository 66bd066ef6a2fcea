"""Runs docker-compose.yml without a container engine: each service's own command, environment and health
check, with this machine's servers under the names that the images have for their programs.

What belongs to containers alone is translated: `feeds:6379` into a free port of 127.0.0.1, a volume's path
into a directory. Users, capabilities and read-only file systems are not shown by this.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from devtools.installed_servers import RabbitServer
from devtools.servers import LOOPBACK, ROOT, Server, ServerFailed, free_port, in_use, wait_until
from tests.composition import images
from tests.composition.images import Service

FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<rest>[^}]*))?\})")


def load(variables: Mapping[str, str]) -> dict[str, Any]:
    """docker-compose.yml, with variables put in. Raises `ServerFailed` for one that is missing."""

    def value(found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        given = variables.get(found["name"], "")
        if not given and found["how"] == ":?":
            raise ServerFailed(f"{found['name']}: {found['rest']}")
        return given or (found["rest"] if found["how"] == ":-" else "")

    def filled(part: Any) -> Any:
        if isinstance(part, str):
            return _VARIABLE.sub(value, part)
        if isinstance(part, dict):
            return {key: filled(one) for key, one in part.items()}
        return [filled(one) for one in part] if isinstance(part, list) else part

    read: dict[str, Any] = filled(yaml.safe_load(FILE.read_text()))
    return read


class Composition:
    """The services of docker-compose.yml with these profiles; stops them all at the end of its block."""

    def __init__(self, variables: Mapping[str, str], profiles: Sequence[str] = ()) -> None:
        self.directory = directory = Path(tempfile.mkdtemp(prefix="feeds-composition-"))
        directory.chmod(0o755)  # PostgreSQL has a user of its own
        file = load(variables)
        self._configs = file["configs"]
        chosen = {
            name: spec
            for name, spec in file["services"].items()
            if not spec.get("profiles") or set(spec["profiles"]) & set(profiles)
        }
        self.services = {name: self._service(name, spec) for name, spec in chosen.items()}

    def __enter__(self) -> Composition:
        try:
            for name in self.services:
                self.up(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for service in reversed(self.services.values()):
            for server in (service.server, service.helper):
                if server is not None:
                    server.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, name: str, port: int) -> str:
        return f"http://{LOOPBACK}:{self.services[name].ports[port]}"

    def up(self, name: str) -> None:
        """Starts a service when those that it depends on are ready, and waits until it is well."""
        service = self.services[name]
        if service.server is not None and service.server.running:
            return
        for other, on in service.spec.get("depends_on", {}).items():
            if other in self.services and not self._has_completed(other):
                assert on["condition"].startswith("service_")
                self.up(other)
        self.start(name)
        if service.spec.get("restart") == "no":
            wait_until(lambda: not self._running(service), seconds=120, what=f"{name} has done its work")
            if not self._has_completed(name):
                raise ServerFailed(f"{name} failed: {service.server and service.server.last_words()}")
        else:
            self.wait_until_well(name)

    def start(self, name: str) -> None:
        """Starts a service, as a container engine does it that finds it ended."""
        service = self.services[name]
        if service.server is None:
            images.install(service)
            service.server = self._server(service, self._command(service))
        service.server.start()

    def kill(self, name: str) -> None:
        """SIGKILL for all its processes."""
        service = self.services[name]
        assert service.server is not None
        if service.image == "rabbitmq":  # one that has run for a while, see there
            assert self.execute(name, ["rabbitmqctl", *RabbitServer.KEEP_NAMES]).returncode == 0
        service.server.kill()
        # Children that made a process group of their own end a moment later.
        wait_until(lambda: not any(map(in_use, service.ports.values())), seconds=60, what=f"{name} is gone")

    def wait_until_well(self, name: str) -> None:
        """Waits for its health check. What ends meanwhile is started again, as its `restart` says: a server
        may find that its predecessor is not gone yet."""
        server = self.services[name].server
        assert server is not None

        def is_well() -> bool:
            if not server.running:
                server.start()
            return self.is_well(name)

        try:
            wait_until(is_well, seconds=180, what=f"{name} is healthy")
        except TimeoutError as error:
            raise ServerFailed(f"{error}\n{server.last_words()}") from error

    def is_well(self, name: str) -> bool:
        """What its health check says; of a service that has none, whether it runs."""
        service = self.services[name]
        check = service.spec.get("healthcheck", {})
        if check.get("disable"):
            return self._running(service)
        kind, *words = check["test"]
        command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        return self.execute(name, command).returncode == 0

    def execute(self, name: str, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """As `docker compose exec`: a command with the environment of a service."""
        service = self.services[name]
        words = [self._translated(service, word) for word in command]
        return subprocess.run(
            ["env", "-i", *self._environ(service), *words],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=ROOT,
        )

    def _running(self, service: Service) -> bool:
        return service.server is not None and service.server.running

    def _has_completed(self, name: str) -> bool:
        server = self.services[name].server
        return server is not None and server.process is not None and server.process.poll() == 0

    def _command(self, service: Service) -> list[str]:
        command = service.spec.get("command", service.image)
        words = shlex.split(command) if isinstance(command, str) else list(command)
        return [self._translated(service, word) for word in words]

    def _server(self, service: Service, command: list[str]) -> Server:
        return Server(
            ["env", "-i", *self._environ(service), *command],
            self.directory / "log" / f"{service.name}.log",
            cwd=ROOT,
        )

    def _environ(self, service: Service) -> list[str]:
        path = f"{service.directory / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        environ = {"PATH": path, "HOME": str(service.directory), "LANG": "C.UTF-8"}
        given = {key: str(value) for key, value in service.spec.get("environment", {}).items()}
        environ |= images.ENVIRON.get(service.image, {}) | given | service.environ
        return [f"{key}={self._translated(service, value)}" for key, value in environ.items()]

    def _translated(self, service: Service, text: str) -> str:
        """What is true in a container, as it is here."""
        text = self._at_home(text)
        for port, here in service.ports.items():
            text = re.sub(rf"\b(127\.0\.0\.1|0\.0\.0\.0)([:/]){port}\b", rf"{LOOPBACK}\g<2>{here}", text)
            text = text if text != str(port) else str(here)
        text = text if text != "0.0.0.0" else LOOPBACK  # noqa: S104  # of the container
        configs = {
            config["target"]: self._config(service, config["source"])
            for config in service.spec.get("configs", ())
        }
        for target, path in {**service.volumes, **configs}.items():
            text = re.sub(rf"(?<![\w/.-]){re.escape(target)}(?![\w-])", str(path), text)
        return text

    def _service(self, name: str, spec: dict[str, Any]) -> Service:
        ports = {port: free_port() for port in images.PORTS[spec["image"].partition(":")[0]]}
        service = Service(name, spec, self.directory / name, ports)
        for volume in spec.get("volumes", ()):
            source, target = volume.split(":")
            service.volumes[target] = self.directory / "volumes" / source
            service.volumes[target].mkdir(parents=True, exist_ok=True)
        return service

    def _config(self, service: Service, source: str) -> Path:
        """The file of a config, with this machine's ports."""
        path = self.directory / f"{service.name}-{source}"
        path.write_text(self._at_home(self._configs[source]["content"]))
        return path

    def _at_home(self, text: str) -> str:
        for other in self.services.values():
            for port, here in other.ports.items():
                text = re.sub(rf"(?<![\w.-]){other.name}:{port}\b", f"{LOOPBACK}:{here}", text)
        return text


def as_json(text: str) -> Any:
    """The last line of an output, which is JSON."""
    return json.loads(text.strip().splitlines()[-1])
