"""Real servers for every test: one Redis for the run, emptied before each; workers where asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache

from devtools.cluster import ClusterServers
from devtools.installed_servers import RabbitServer
from devtools.servers import RedisServer, Server, celery_worker, worker_is_ready
from mydjangoapp.connections.redis_cluster import cluster_of
from mydjangoapp.homefeed import feeds_redis
from tests import servers
from tests.events import nsq_in_use

if TYPE_CHECKING:
    from redis import Redis
    from rest_framework.test import APIClient


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The run's own redis-server."""
    with servers.REDIS as server:
        yield server


@pytest.fixture(scope="session")
def broker_server() -> Iterator[RedisServer | RabbitServer]:
    """The run's own broker: a second redis-server, or RabbitMQ."""
    with servers.BROKER as server:
        yield server


@pytest.fixture
def redis(redis_server: RedisServer, broker_server: RedisServer | RabbitServer) -> Redis:
    """A client of the feeds' database; every database of the server is empty when the test begins."""
    client = feeds_redis.client()
    client.flushall()
    cache.clear()
    if isinstance(broker_server, RedisServer):
        connect(broker_server).flushall()
    else:
        broker_server.purge()
    return client


def connect(server: RedisServer | ClusterServers) -> Redis:
    """A client of that server's first database, or of that cluster."""
    import redis as redis_py

    if isinstance(server, ClusterServers):
        return cast("Redis", cluster_of(server.url(), 10.0, 1))
    return redis_py.Redis(port=server.port, protocol=2)


@pytest.fixture
def broker(redis: Redis, broker_server: RedisServer | RabbitServer) -> Redis:
    """A client of the broker's database."""
    if not isinstance(broker_server, RedisServer):
        pytest.skip("looks into the lists of a Redis broker; this run is on RabbitMQ")
    return connect(broker_server)


_started = count(1)


def start_worker(**environ: str) -> Server:
    """A `celery -A proj worker` that takes tasks, for the caller to stop."""
    name = f"worker-{next(_started)}"
    log = servers.DIRECTORY / "log" / f"{name}.log"
    options = ("-n", f"{name}@%h", "-I", "benchmarks.ways")  # RabbitMQ refuses a second one of a name
    worker = celery_worker(log, {**servers.ENVIRON, "TASK_LOG_LEVEL": "INFO", **environ}, *options)
    worker.start()
    worker.wait_for(lambda: worker_is_ready(worker), seconds=60, what="the worker takes tasks")
    return worker


class Workers(list[Server]):
    """Starts a worker when called; the list of those that were."""

    def __call__(self, **environ: str) -> Server:
        self.append(start_worker(**environ))
        return self[-1]


@pytest.fixture
def workers(redis: Redis, transactional_db: None) -> Iterator[Workers]:
    """Starts workers on call and kills them all at the end: a goodbye takes Celery two seconds and a half."""
    started = Workers()
    yield started
    for worker in started:
        worker.kill()


@pytest.fixture
def worker(workers: Callable[..., Server]) -> Server:
    """One worker, without options."""
    return workers()


_names = count(1)


@pytest.fixture
def make_users(request: pytest.FixtureRequest) -> Callable[[int], list[Any]]:
    """Saves so many users."""
    if "transactional_db" not in request.fixturenames:
        request.getfixturevalue("db")
    user = get_user_model()

    def make(number: int) -> list[Any]:
        field, ending = (user.USERNAME_FIELD, "@example.com" if user.USERNAME_FIELD == "email" else "")
        return user.objects.bulk_create(
            user(**{field: f"user-{next(_names)}{ending}", "password": "!"}) for _ in range(number)
        )

    return make


@pytest.fixture
def author(make_users: Callable[[int], list[Any]]) -> Any:
    """A user without followers."""
    return make_users(1)[0]


@pytest.fixture
def api(author: Any) -> APIClient:
    """HTTP, logged in as `author` by token."""
    from rest_framework.authtoken.models import Token
    from rest_framework.test import APIClient

    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {Token.objects.create(user=author).key}")
    return client


@pytest.fixture
def pair(make_users: Callable[[int], list[Any]]) -> tuple[Any, Any]:
    """A reader and the author they follow."""
    me, author = make_users(2)
    from mydjangoapp import graph

    graph.follow(me, author)
    return me, author


def pytest_report_header() -> list[str]:
    """Says what a run is on."""
    return [f"servers: {' '.join(sorted(servers.ON)) or 'Redis and SQLite'}", nsq_in_use.said()]
