"""Loaded before anything else: a Redis and a database of this run's own, so that Django's settings,
and every worker that a test starts, point at them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from proj.servers import RedisServer, site_environ

DIRECTORY = Path(tempfile.mkdtemp(prefix="feeds-test-"))
REDIS = RedisServer.at(DIRECTORY / "redis")
ENVIRON = site_environ(REDIS, DIRECTORY, MYDJANGOAPP_LEASE_SECONDS="3", MYDJANGOAPP_UPLOAD_RATE="100000/min")

os.environ.update(ENVIRON)
atexit.register(shutil.rmtree, DIRECTORY, ignore_errors=True)
