"""The client of a cluster, on three real nodes: any slots in one call, and wherever a slot is."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.exceptions import ResponseError

from devtools.cluster import ClusterServers, client_of
from devtools.servers import RedisServer, free_port, wait_until
from mydjangoapp.connections import redis_topology
from mydjangoapp.connections.redis_server import Store
from mydjangoapp.exceptions import FeedsRefused, FeedsUnavailable
from tests.clusters import begin_to_move, move_slot, move_whole_slot, owner

SOME = [f"key:{n}" for n in range(60)]  # of all nodes
HASTY = 0.5  # seconds that a command may take where a node is away


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterServers]:
    with ClusterServers(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def store(servers: ClusterServers) -> Store:
    store = store_of(servers)
    store.client().flushall()
    return store


def store_of(servers: ClusterServers, timeout: float = 5.0) -> Store:
    return Store("feeds' Redis", "REDIS_URL", servers.url(), timeout, FeedsUnavailable, FeedsRefused)


def test_keys_of_any_slots_in_one_call(store: Store) -> None:
    with store.edge():
        redis: Any = store.client()
        pipeline = redis.pipeline(transaction=False)
        for key in SOME:
            pipeline.set(key, key)
        pipeline.time()
        assert pipeline.execute()[:-1] == [True] * 60
        assert redis.mget(SOME) == [key.encode() for key in SOME]
        assert redis.exists(*SOME) == 60
        assert sorted(redis.scan_iter(match="key:*")) == sorted(key.encode() for key in SOME)
        assert len({client.dbsize() for client in store.nodes()} - {0}) >= 1
        assert all(client.dbsize() > 5 for client in store.nodes()), "each node has its share"
        assert redis.dbsize() == 60
        assert redis.unlink(*SOME) == 60


def test_a_transaction_and_a_call_go_to_their_slot(store: Store) -> None:
    with store.edge():
        redis: Any = store.client()
        for n in range(20):
            pipeline = redis.pipeline(transaction=True)
            pipeline.rpush(f"{{{n}}}:list", n)
            pipeline.get(f"{{{n}}}:floor")
            assert pipeline.execute() == [1, None]
            assert store.transaction(("LRANGE", f"{{{n}}}:list", 0, -1), ("LLEN", f"{{{n}}}:list")) == [
                [str(n).encode()],
                1,
            ]
            assert store.call(("EVAL", "return redis.call('LLEN', KEYS[1])", 1, f"{{{n}}}:list")) == [1]


def test_errors_of_commands_are_theirs(store: Store) -> None:
    with store.edge():
        redis: Any = store.client()
        redis.set("key:1", "text")
        pipeline = redis.pipeline(transaction=False)
        for key in SOME:
            pipeline.llen(key)
        replies = pipeline.execute(raise_on_error=False)
    assert isinstance(replies[1], ResponseError)
    assert replies[:1] + replies[2:] == [0] * 59
    with pytest.raises(FeedsRefused, match="WRONGTYPE"), store.edge():
        redis.lpush("key:1", 1)


def test_a_slot_that_has_moved_is_found(servers: ClusterServers, store: Store) -> None:
    redis: Any = store.client()
    redis.rpush("key:1", 1)
    source = owner(servers, "key:1")
    target = next(server for server in servers.primaries if server is not source)
    move_slot(servers, "key:1", source, target)
    pipeline = redis.pipeline(transaction=False)
    for key in SOME:
        pipeline.llen(key)
    assert pipeline.execute()[1] == 1
    move_slot(servers, "key:1", target, source)
    assert store.call(("LLEN", "key:1")) == [1]
    move_slot(servers, "key:1", source, target)
    assert store.transaction(("LLEN", "key:1")) == [1]
    move_slot(servers, "key:1", target, source)
    pipeline = redis.pipeline(transaction=True)
    pipeline.llen("key:1")
    assert pipeline.execute() == [1]


def test_a_slot_on_the_move_is_served_by_both(servers: ClusterServers, store: Store) -> None:
    redis: Any = store.client()
    redis.rpush("{tag}:gone", 1)
    redis.rpush("{tag}:here", 1, 2)
    source = owner(servers, "{tag}")
    target = next(server for server in servers.primaries if server is not source)
    begin_to_move("{tag}", source, target)
    client_of(source).migrate("127.0.0.1", target.port, "{tag}:gone", 0, 5_000)
    assert redis.llen("{tag}:gone") == 1
    assert redis.llen("{tag}:here") == 2
    pipeline = redis.pipeline(transaction=False)
    pipeline.llen("{tag}:here")
    pipeline.llen("{tag}:gone")
    assert pipeline.execute() == [2, 1]
    lengths = ("EVAL", "return {redis.call('LLEN', KEYS[1]), redis.call('LLEN', KEYS[2])}", 2)
    of_both = (*lengths, "{tag}:here", "{tag}:gone")
    with pytest.raises(FeedsUnavailable, match="Multiple keys"), store.edge():
        store_of(servers, HASTY).call(of_both)  # nobody can tell at one moment
    patient = store_of(servers, timeout=20)
    before = refusals(source, target)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(patient.call, of_both)
        wait_until(lambda: refusals(source, target) > before, seconds=10, what="it was told to try again")
        move_whole_slot(servers, "{tag}", source, target)
        assert answer.result(20) == [[2, 1]]


def refusals(*servers: RedisServer) -> int:
    """How often these have said TRYAGAIN."""
    told: list[Any] = [client_of(server).info("errorstats") for server in servers]
    return sum(stats.get("errorstat_TRYAGAIN", {"count": 0})["count"] for stats in told)


def test_a_dead_node_stops_only_what_lives_there(servers: ClusterServers, store: Store) -> None:
    redis: Any = store.client()
    for key in SOME:
        redis.set(key, key)
    dead = owner(servers, "key:1")
    others = [key for key in SOME if owner(servers, key) is not dead]
    store = store_of(servers, HASTY)
    redis = store.client()
    dead.signal(signal.SIGSTOP)
    try:
        with pytest.raises(FeedsUnavailable), store.edge():
            redis.get("key:1")
        said = []
        for _ in range(5):
            with pytest.raises(FeedsUnavailable) as refused, store.edge():
                redis.get("key:1")
            said.append(str(refused.value))
        assert any("a moment ago" in text for text in said), "nobody waits for it again and again"
        with store.edge():
            assert redis.get(others[0]) == others[0].encode()
    finally:
        dead.signal(signal.SIGCONT)


def test_a_cluster_that_is_away(tmp_path: Any) -> None:
    with ClusterServers(tmp_path) as servers:
        pass
    store = store_of(servers, HASTY)
    with pytest.raises(FeedsUnavailable, match="REDIS_URL"), store.edge():
        store.client().get("key:1")


def test_nodes_that_never_answer_are_not_asked_again_and_again() -> None:
    with ExitStack() as stack:
        holes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        for hole in holes:
            hole.setblocking(False)
        url = f"redis+cluster://{','.join(f'127.0.0.1:{hole.getsockname()[1]}' for hole in holes)}/"
        store = Store("feeds' Redis", "REDIS_URL", url, HASTY, FeedsUnavailable, FeedsRefused)
        with pytest.raises(FeedsUnavailable, match="no node of the cluster answers"), store.edge():
            store.client().get("key:1")
        assert [asked(hole) for hole in holes] == [1, 1, 1]
        with pytest.raises(FeedsUnavailable, match="a moment ago"), store.edge():
            store.client().get("key:1")
        assert [asked(hole) for hole in holes] == [0, 0, 0]


def asked(hole: socket.socket) -> int:
    """How many have connected since the last call."""
    number = 0
    with suppress(BlockingIOError):
        while True:
            hole.accept()[0].close()
            number += 1
    return number


def test_a_node_that_is_cut_off_is_not_asked_where_slots_are(tmp_path: Any) -> None:
    """Nor one that knows no others: it was reset."""
    with (
        ClusterServers(tmp_path / "cluster") as servers,
        RedisServer.at(
            tmp_path / "reset", options=["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
        ) as alone,
    ):
        url = f"redis+cluster://127.0.0.1:{alone.port},127.0.0.1:{servers.primaries[0].port}/"
        for number in range(4):
            topology = redis_topology.Topology(f"{url}?{number}")  # in a random order
            assert len(topology.primaries()) == 3


def test_a_url_with_a_password_is_not_shown() -> None:
    url = "rediss+cluster://user:p%40ss@a.internal:7000,[::1]:7001/"
    store = Store("feeds' Redis", "REDIS_URL", url, 1.0, FeedsUnavailable, FeedsRefused)
    assert store.server == "a.internal:7000,[::1]:7001"
    topology = redis_topology.Topology(url)
    assert topology.url_of(redis_topology.Node("::1", 7001)) == "rediss://user:p%40ss@[::1]:7001/0"
    assert redis_topology.nodes_named(urlsplit(url)) == [("a.internal", 7000), ("::1", 7001)]
