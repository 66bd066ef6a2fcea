"""Loaded before anything else: a Redis and a database of this run's own, so that Django's settings,
and every worker that a test starts, point at them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from devtools.cluster import ClusterServers
from devtools.cluster_bus import ClusterBus
from devtools.installed_servers import MemcachedServer, PostgresServer, RabbitServer
from devtools.servers import RedisServer, site_environ

DIRECTORY = Path(tempfile.mkdtemp(prefix="feeds-test-"))
ON = frozenset(os.environ.get("TEST_ON", "").split())
"""What to run on instead of SQLite, and Redis as cache and broker: postgres, memcached, rabbitmq; instead
of one Redis for the feeds: cluster, with a replica of each node: replicas; and on another site than `proj`:
uuid-users, text-users, shop-photos."""
HOSTS = {"uuid-users": "host.Person", "text-users": "host.Handle"}
SITES = {
    **{
        name: {"DJANGO_SETTINGS_MODULE": "tests.host.settings", "HOST_USER": user}
        for name, user in HOSTS.items()
    },
    "shop-photos": {"DJANGO_SETTINGS_MODULE": "tests.hosts.shop.settings"},
}

BUS: ClusterBus | None = ClusterBus() if "replicas" in ON else None
if BUS is not None:
    BUS.__enter__()  # before its first port is asked for
    atexit.register(BUS.__exit__, None, None, None)
REDIS: Any = (
    ClusterServers(DIRECTORY / "cluster", replicas=int("replicas" in ON), bus=BUS)
    if "cluster" in ON
    else RedisServer.at(DIRECTORY / "redis")
)
BROKER: RedisServer | RabbitServer = (
    RabbitServer.at(DIRECTORY / "rabbitmq") if "rabbitmq" in ON else RedisServer.at(DIRECTORY / "broker")
)
ENVIRON = site_environ(
    REDIS,
    DIRECTORY,
    CELERY_BROKER_URL=BROKER.url(),
    MYDJANGOAPP_LEASE_SECONDS="3",
    MYDJANGOAPP_SETTLE_SECONDS="0.2",
    MYDJANGOAPP_UPLOAD_RATE="100000/min",
    CELERY_SKIP_CHECKS="1",  # a worker would import the whole API for them, at each of hundreds of starts
)
if isinstance(REDIS, ClusterServers) and isinstance(BROKER, RedisServer):
    ENVIRON |= {"CACHE_URL": BROKER.url(2)}
POSTGRES: PostgresServer | None = None

atexit.register(shutil.rmtree, DIRECTORY, ignore_errors=True)

if "postgres" in ON:
    POSTGRES = PostgresServer.new()
    atexit.register(POSTGRES.stop)
    POSTGRES.start()
    ENVIRON |= {"DATABASE_URL": POSTGRES.url("feeds"), "TEST_DATABASE_NAME": "feeds"}
if "memcached" in ON:
    memcached = MemcachedServer.at(DIRECTORY)
    atexit.register(memcached.stop)
    memcached.start()
    ENVIRON |= {"CACHE_URL": memcached.url()}

for site in ON & SITES.keys():
    ENVIRON |= SITES[site]

os.environ.update(ENVIRON)
