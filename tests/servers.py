"""Loaded before anything else: a Redis and a database of this run's own, so that Django's settings,
and every worker that a test starts, point at them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from proj.installed_servers import MemcachedServer, PostgresServer
from proj.servers import RedisServer, site_environ

DIRECTORY = Path(tempfile.mkdtemp(prefix="feeds-test-"))
REDIS = RedisServer.at(DIRECTORY / "redis")
ENVIRON = site_environ(
    REDIS,
    DIRECTORY,
    MYDJANGOAPP_LEASE_SECONDS="3",
    MYDJANGOAPP_SETTLE_SECONDS="0.2",
    MYDJANGOAPP_UPLOAD_RATE="100000/min",
)

atexit.register(shutil.rmtree, DIRECTORY, ignore_errors=True)

ON = os.environ.get("TEST_ON")
if ON == "installed servers":
    # `make test-all`: the truth in PostgreSQL and the cache in memcached, instead of SQLite and Redis.
    postgres = PostgresServer.new()
    atexit.register(postgres.stop)
    memcached = MemcachedServer.at(DIRECTORY)
    atexit.register(memcached.stop)
    postgres.start()
    memcached.start()
    ENVIRON |= {
        "DATABASE_URL": postgres.url("feeds"),
        "TEST_DATABASE_NAME": "feeds",
        "CACHE_URL": memcached.url(),
    }

os.environ.update(ENVIRON)
