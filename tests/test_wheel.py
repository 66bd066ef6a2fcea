"""The built wheel in a new `django-admin startproject` site: installed, migrated, a worker, an upload."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from devtools.servers import ROOT, RedisServer, Server, wait_until, worker_is_ready

SETTINGS = """
INSTALLED_APPS += ["rest_framework", "rest_framework.authtoken", "mydjangoapp"]
MYDJANGOAPP = {{"REDIS_URL": "{redis}", "BATCH_SIZE": 10}}
CELERY_BROKER_URL = "{broker}"
"""
URLS = """
from django.urls import include
urlpatterns.append(path("feeds/", include("mydjangoapp.urls")))
"""
CELERY = """
import os
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
app = Celery("site1")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
UPLOAD = """
import mydjangoapp
from django.contrib.auth.models import User
from django.test import Client
from mydjangoapp import graph
from mydjangoapp.models import Photo
from rest_framework.authtoken.models import Token
assert mydjangoapp.__file__.startswith({wheel!r}), mydjangoapp.__file__
author, *users = [User.objects.create(username=str(n)) for n in range(36)]
assert graph.follow_many(users, author) == 35
key = Token.objects.create(user=author).key
body = {{"description": "x", "photo_url": "https://example.com/x.jpg"}}
answer = Client(HTTP_HOST="localhost").post(
    "/feeds/upload/", body, content_type="application/json", headers={{"Authorization": "Token " + key}})
assert answer.status_code == 201, answer.content
assert "/feeds/photos/" in answer.json()["fanout"]
"""


def test_the_wheel_works_in_a_new_site(redis: Any, redis_server: RedisServer, tmp_path: Path) -> None:
    source, installed, site = tmp_path / "source", tmp_path / "installed", tmp_path / "site"
    ignored = shutil.ignore_patterns(".git", ".venv", "var", "build", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, source, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source], check=True)
    [wheel] = tmp_path.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", installed, wheel], check=True)
    assert list(installed.glob("mydjangoapp/homefeed/lua/*.lua"))
    assert (installed / "mydjangoapp/migrations/0001_first.py").exists()
    assert not (installed / "proj").exists()

    site.mkdir()
    subprocess.run([sys.executable, "-m", "django", "startproject", "site1", site], check=True)
    with (site / "site1/settings.py").open("a") as settings:
        settings.write(SETTINGS.format(redis=redis_server.url(4), broker=redis_server.url(5)))
    with (site / "site1/urls.py").open("a") as urls:
        urls.write(URLS)
    (site / "site1/celery.py").write_text(CELERY)
    (site / "site1/__init__.py").write_text("from .celery import app as celery_app\n")

    ours = ("DJANGO_", "MYDJANGOAPP_", "DATABASE_URL", "REDIS_URL", "CELERY_", "VAR_DIR", "PYTEST_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environ |= {"PYTHONPATH": str(installed), "DJANGO_SETTINGS_MODULE": "site1.settings"}
    # A server starts with this process's environment, too, and Celery prefers that to the settings.
    environ["CELERY_BROKER_URL"] = redis_server.url(5)

    def manage(*arguments: str) -> str:
        ran = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=site, env=environ, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    manage("check")
    manage("migrate", "-v0")
    command = [sys.executable, "-m", "celery", "-A", "site1", "worker", "-l", "INFO"]
    with Server(command, tmp_path / "worker.log", environ, cwd=site) as worker:
        worker.wait_for(lambda: worker_is_ready(worker), seconds=60, what="the worker takes tasks")
        manage("shell", "-v0", "-c", UPLOAD.format(wheel=str(installed)))
        done = "from mydjangoapp.models import FanOut; f = FanOut.objects.get(); print(f.state, f.reached)"
        wait_until(lambda: "done 35" in manage("shell", "-v0", "-c", done), seconds=60, what="all are served")
