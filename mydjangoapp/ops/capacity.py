"""What a site of a given size needs: `manage.py capacity`.

A model of costs that were measured (`python -m benchmarks.capacity`, and the tables of docs/BENCHMARKS.md),
each by itself and on one machine. It says how large an installation has to be to within a factor of two, and
what is in the way first. `benchmarks/simulate.py` compares the lag that it predicts with real runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

DAY = 86_400
BATCH = 10_000
USED = 0.6
"""How far processors are to be used at the peak: what waits grows without bound towards 1."""
SPARE_MEMORY = 2.0
"""Redis writes its AOF anew in a fork, which may come to hold each page that changes meanwhile."""


class BadSize(ValueError):
    """A figure that no site has; the message names it."""


def _refuse_all_but_positive(figures: Site | Costs) -> None:
    for one in fields(figures):
        value = getattr(figures, one.name)
        if not 0 < value < math.inf:
            raise BadSize(f"{one.name}: {value} is not above 0.")


@dataclass(frozen=True)
class Site:
    """Users, and what they do. `peak`: the busiest second over the mean; `active`: the share of users who
    have a feed in Redis (`INACTIVE_AFTER`); `largest`: the followers of the author who has most."""

    users: int
    followers: float = 200.0
    uploads_a_day: float = 0.1
    pages_a_day: float = 10.0
    largest: int = 1_000_000
    active: float = 0.3
    peak: float = 3.0

    def __post_init__(self) -> None:
        _refuse_all_but_positive(self)
        if self.active > 1:
            raise BadSize(f"active: {self.active} is more than all.")
        if self.largest >= self.users:
            raise BadSize(f"largest: {self.largest:,} followers are not fewer than {self.users:,} users.")


@dataclass(frozen=True)
class Costs:
    """Microseconds of one processor, and bytes: measured, with lists at their cap of 800, as they are after a
    while. On a cluster `redis_on_cluster` multiplies Redis's time for a push, and `worker_us_on_cluster` is
    added to a worker's. From `redis_us_per_message` on (noting that it was taken) figures are assumed: what
    RabbitMQ and PostgreSQL can do, and a size of machine."""

    redis_us_per_push: float = 2.7
    redis_us_per_upload: float = 510.0
    redis_us_per_page: float = 30.0
    redis_on_cluster: float = 1.2
    worker_us_per_push: float = 0.65
    worker_us_on_cluster: float = 0.5
    worker_us_per_upload: float = 1_550.0
    web_us_per_page: float = 2_100.0
    web_us_per_upload: float = 7_600.0
    bytes_per_feed: float = 5_400.0
    bytes_per_follow: float = 5.1
    sql_bytes_per_follow: float = 200.0
    sql_bytes_per_photo: float = 600.0
    redis_us_per_message: float = 20.0
    messages_per_second: float = 20_000.0
    uploads_per_second: float = 5_000.0
    sql_terabytes: float = 32.0
    node_gigabytes: float = 32.0

    def __post_init__(self) -> None:
        _refuse_all_but_positive(self)


@dataclass(frozen=True)
class Limit:
    """A part that does not grow with the number of machines, and how much of it is used at the peak."""

    name: str
    used: float
    remedy: str


@dataclass(frozen=True)
class Plan:
    """What the site needs at its peak. Nodes are primaries, each with a replica beside it."""

    site: Site
    costs: Costs
    uploads: float
    pushes: float
    pages: float
    nodes_by_time: int
    nodes_by_memory: int
    workers: int
    web: int
    memory: float
    sql: float
    seconds_of_largest: float
    lag: float
    limits: tuple[Limit, ...]

    @property
    def nodes(self) -> int:
        """Primaries of the feeds' Redis."""
        return max(self.nodes_by_time, self.nodes_by_memory)

    @property
    def first(self) -> Limit:
        """What breaks first."""
        return max(self.limits, key=lambda limit: limit.used)


def plan(site: Site, costs: Costs | None = None) -> Plan:
    """What that site needs. Raises `BadSize`."""
    costs = costs or Costs()
    uploads = site.users * site.uploads_a_day / DAY * site.peak
    pages = site.users * site.pages_a_day / DAY * site.peak
    pushes = uploads * site.followers
    memory = (
        site.users * site.active * costs.bytes_per_feed + site.users * site.followers * costs.bytes_per_follow
    ) * SPARE_MEMORY
    nodes_by_memory = _at_least_one(memory / (costs.node_gigabytes * 2**30))
    redis_us, worker_us = costs.redis_us_per_push, costs.worker_us_per_push

    def nodes_needed() -> int:
        others = uploads * costs.redis_us_per_upload + pages * costs.redis_us_per_page
        return _at_least_one((pushes * redis_us + others) / 1e6 / USED)

    if (nodes_by_time := nodes_needed()) > 1 or nodes_by_memory > 1:
        redis_us, worker_us = redis_us * costs.redis_on_cluster, worker_us + costs.worker_us_on_cluster
        nodes_by_time = nodes_needed()
    nodes = max(nodes_by_time, nodes_by_memory)
    # A process waits for the nodes' answers with nothing else to do.
    per_push = worker_us + redis_us / nodes
    work = (pushes * per_push + uploads * (costs.worker_us_per_upload + costs.redis_us_per_upload)) / 1e6
    workers = _at_least_one(work / USED)
    # A batch is carried by one worker, and its pushes are shared by the nodes.
    batch = BATCH * per_push / 1e6
    batches = math.ceil(site.largest / BATCH)
    # What arrives at random waits for U / (1 - U) batches, shared by the workers; U is how busy they are.
    busy = work / workers
    lag = (costs.worker_us_per_upload + costs.redis_us_per_upload) / 1e6 + batch * busy / (1 - busy) / workers
    sql = site.users * (site.followers * costs.sql_bytes_per_follow) + (
        site.users * site.uploads_a_day * 365 * costs.sql_bytes_per_photo
    )
    return Plan(
        site=site,
        costs=costs,
        uploads=uploads,
        pushes=pushes,
        pages=pages,
        nodes_by_time=nodes_by_time,
        nodes_by_memory=nodes_by_memory,
        workers=workers,
        web=_at_least_one((pages * costs.web_us_per_page + uploads * costs.web_us_per_upload) / 1e6 / USED),
        memory=memory,
        sql=sql,
        seconds_of_largest=batches * batch,
        lag=lag,
        limits=tuple(_limits(site, costs, uploads, pushes, nodes, sql)),
    )


def _limits(
    site: Site, costs: Costs, uploads: float, pushes: float, nodes: int, sql: float
) -> Iterator[Limit]:
    """What more machines of the same kind do not make larger."""
    messages = uploads + pushes / BATCH
    yield Limit("RabbitMQ: one queue, messages a second", messages / costs.messages_per_second, "task_routes")
    yield Limit(
        "PostgreSQL: uploads a second, on one primary",
        uploads / costs.uploads_per_second,
        "photos on a database of their own (DATABASE_ROUTERS)",
    )
    yield Limit(
        "PostgreSQL: size of the follows",
        sql / (costs.sql_terabytes * 2**40),
        "partitions, a sharded PostgreSQL",
    )
    yield Limit(
        "one node: each message that is taken is noted there",
        messages * costs.redis_us_per_message / 1e6 / USED,
        "a release of this app that spreads it",
    )
    yield Limit(
        "one node: the longest follower list",
        site.largest * costs.bytes_per_follow / (costs.node_gigabytes * 2**30),
        "PULL_ABOVE",
    )
    yield Limit(
        "Redis Cluster: nodes, replicas among them", 2 * nodes / 1_000, "several clusters, a site each"
    )


def _at_least_one(number: float) -> int:
    return max(1, math.ceil(number))
