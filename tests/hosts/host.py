"""A site made by `django-admin startproject`, the README's blocks and the built wheel."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx

from devtools.servers import (
    LOOPBACK,
    ROOT,
    RedisServer,
    Server,
    free_port,
    in_use,
    wait_until,
    worker_is_ready,
)

NAME = "mysite"
BLOCKS = re.compile(rf"```python\n# ({NAME}/\S+)\n(.*?)```", re.DOTALL)
# What would reach a site from the run that tests it, instead of its own settings.
OURS = (
    "DJANGO_",
    "MYDJANGOAPP_",
    "DATABASE_URL",
    "REDIS_URL",
    "CELERY_",
    "CACHE_URL",
    "VAR_DIR",
    "PYTEST_",
    "MEDIA_ROOT",
    "HOST_USER",
    "TEST_",
)


def build_wheel(directory: Path) -> Path:
    """The app as a wheel, installed into a directory of its own, which it returns."""
    source, installed = directory / "source", directory / "installed"
    left_out = (".git", ".venv*", ".nox", "var", "build", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*left_out))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", directory, source], check=True)
    [wheel] = directory.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", installed, wheel], check=True)
    return installed


class HostSite:
    """One site in a directory, with servers of its own to stop: to be used in a `with`."""

    def __init__(self, directory: Path, wheel: Path, redis: RedisServer, *, databases: int = 4) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self._redis = redis
        self._feeds, self._broker = redis.url(databases), redis.url(databases + 1)
        self._stack = ExitStack()
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.environ |= {"PYTHONPATH": str(wheel), "DJANGO_SETTINGS_MODULE": f"{NAME}.settings"}
        # A server starts with this process's environment, too, and Celery prefers that to the settings.
        self.environ["CELERY_BROKER_URL"] = self._broker
        subprocess.run([sys.executable, "-m", "django", "startproject", NAME, directory], check=True)
        self.url = ""

    def install(self) -> Self:
        """Does what the README says."""
        for path, text in BLOCKS.findall((ROOT / "README.md").read_text()):
            text = text.replace("redis://127.0.0.1:6379/0", self._feeds)
            text = text.replace("redis://127.0.0.1:6379/1", self._broker)
            with (self.directory / path).open("a") as file:
                file.write(f"\n{text}")
        return self

    def add(self, app: str, settings: str = "") -> Self:
        """Adds an app of `tests/hosts`, and settings of the site's own."""
        if app:
            ignored = shutil.ignore_patterns("settings.py", "__pycache__")
            shutil.copytree(ROOT / "tests/hosts" / app, self.directory / app, ignore=ignored)
            settings = f"INSTALLED_APPS += [{app!r}]\n{settings}"
        with (self.directory / NAME / "settings.py").open("a") as file:
            file.write(f"\n{settings}")
        return self

    def manage(self, *arguments: str) -> str:
        """Runs a command; returns what it says. Fails with what it says where it fails."""
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "manage.py", *arguments],
            cwd=self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, f"{arguments}: {ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def run(self, code: str) -> Any:
        """Runs Python in the site; returns what it says, which is JSON."""
        return json.loads(self.manage("shell", "-v0", "-c", f"import json\n{code}"))

    def start(self, *web: str) -> Self:
        """Migrates, checks, and starts a worker and a web server: `gunicorn mysite.wsgi` or what is given."""
        self.manage("check", "--fail-level", "WARNING")
        self.manage("makemigrations", "--check", "--dry-run")
        self.manage("migrate", "-v0")
        worker = self._server("worker", "celery", "-A", NAME, "worker", "-l", "INFO", "-n", f"{id(self)}@%h")
        worker.wait_for(lambda: worker_is_ready(worker), seconds=90, what="the worker takes tasks")
        port = free_port()
        bind = {"uvicorn": ("--port", str(port)), "gunicorn": ("--bind", f"{LOOPBACK}:{port}")}
        command = web or ("gunicorn", f"{NAME}.wsgi")
        server = self._server("web", *command, *bind[command[0]])
        server.wait_for(lambda: in_use(port), seconds=60, what="the site answers")
        self.url = f"http://{LOOPBACK}:{port}"
        return self

    def _server(self, name: str, *module: str) -> Server:
        # Server passes this process's environment on: what is the run's own is to be gone.
        gone = [name for name in os.environ if name.startswith(OURS) and name not in self.environ]
        command = ["env", *(f"-u{name}" for name in gone)]
        command += [sys.executable, "-m", *module]
        return self._stack.enter_context(
            Server(command, self.directory / f"{name}.log", self.environ, cwd=self.directory)
        )

    def client(self, headers: dict[str, str]) -> httpx.Client:
        """HTTP as one user."""
        return self._stack.enter_context(httpx.Client(base_url=self.url, headers=headers, timeout=20))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def wait_for_delivery(author: httpx.Client, upload: httpx.Response) -> dict[str, Any]:
    """The progress of an upload's fan-out, at its end."""
    assert upload.status_code == 201, upload.text
    progress: dict[str, Any] = {}

    def ended() -> bool:
        progress.update(author.get(upload.json()["fanout"]).raise_for_status().json())
        return progress["state"] not in ("waiting", "running")

    wait_until(ended, seconds=60, what="the delivery ends")
    return progress
