"""A real browser on the real site: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devtools.servers import LOOPBACK, ROOT, Server, free_port, in_use
from tests import servers
from tests.conftest import start_worker

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent
PASSWORD = "correct horse 9"
MAX_LENGTH = 20
"""Ids in a list of these tests' site, so that a feed soon ends in SQL."""
PHONE = {"width": 390, "height": 844}
SVG = "image/svg+xml"
ELSEWHERE = '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="3"/>'
# As root and without a network beyond this machine.
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them need a browser: they are left to `make test-browser`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium")
    assert found, "install Debian's chromium, or run `make test-all`"
    # Playwright's own event loop runs in this thread, and Django takes it for the caller's.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=OPTIONS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def site_options() -> dict[str, str]:
    return {"MYDJANGOAPP_MAX_LENGTH": str(MAX_LENGTH)}


@pytest.fixture(scope="session")
def web(redis_server: Any, broker_server: Any, site_options: dict[str, str]) -> Iterator[str]:
    """The site's address, served as in production: by uvicorn."""
    port = free_port()
    command = ["-m", "uvicorn", "proj.asgi:application", "--host", LOOPBACK, "--port", str(port)]
    environ = {**servers.ENVIRON, **site_options, "STATIC_ROOT": str(servers.DIRECTORY / "static")}
    collect = [sys.executable, "manage.py", "collectstatic", "-v0"]
    subprocess.run(collect, cwd=ROOT, env={**os.environ, **environ}, check=True)
    log = servers.DIRECTORY / "log/browser-web.log"
    with Server([sys.executable, *command, "--lifespan", "off"], log, environ) as server:
        server.wait_for(lambda: in_use(port), seconds=60, what="the web server listens")
        yield f"http://{LOOPBACK}:{port}"


@pytest.fixture(scope="session")
def web_worker(redis_server: Any, broker_server: Any, site_options: dict[str, str]) -> Iterator[Server]:
    worker = start_worker(**site_options)
    yield worker
    worker.kill()


@dataclass
class Visitor:
    """Somebody in a browser of their own. What the browser complains of is collected."""

    page: Page
    site: str
    user: Any = None
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Goes to a page and waits until it is there."""
        answer = self.page.goto(self.site + path)
        assert answer is not None and answer.status < 400, (path, answer and answer.status)
        return self.page


@pytest.fixture
def visitors(
    chromium: Browser, web: str, web_worker: Server, redis: Any, transactional_db: None
) -> Iterator[Callable[..., Visitor]]:
    """Makes visitors: a user of this name who is logged in, or nobody. At the end no browser may have
    complained: no error of a script, no violation of the site's policy, nothing that was not found."""
    made: list[Visitor] = []

    def visit(name: str = "", **options: Any) -> Visitor:
        context = chromium.new_context(**{"locale": "en-GB", **options})
        context.set_default_timeout(20_000)
        # There is no network: photos that are kept elsewhere are there, and small.
        context.route("https://example.com/**", lambda route: route.fulfill(body=ELSEWHERE, content_type=SVG))
        visitor = Visitor(context.new_page(), web, _user(name) if name else None)
        _listen(visitor)
        made.append(visitor)
        if name:
            context.add_cookies([_log_in(visitor.user, web)])
        return visitor

    yield visit
    for visitor in made:
        visitor.page.context.close()
    assert [complaint for visitor in made for complaint in visitor.complaints] == []


def _listen(visitor: Visitor) -> None:
    def said(message: Any) -> None:
        if message.type in ("error", "warning"):
            visitor.complaints.append(f"{message.type}: {message.text}")

    visitor.page.on("console", said)
    visitor.page.on("pageerror", lambda error: visitor.complaints.append(f"script: {error}"))


def _user(name: str) -> Any:
    from django.contrib.auth import get_user_model

    model = get_user_model()
    return model.objects.filter(username=name).first() or model.objects.create_user(name, password=PASSWORD)


def _log_in(user: Any, site: str) -> Any:
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return {"name": name, "value": client.cookies[name].value, "url": site}
