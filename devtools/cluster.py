"""A Redis Cluster on loopback, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .cluster_bus import ClusterBus
from .servers import LOOPBACK, RedisServer, free_port, wait_until

if TYPE_CHECKING:
    from redis import Redis

SLOTS = 16_384
NODE_TIMEOUT = 1_500  # ms


class ClusterServers:
    """Primaries with as many replicas each as asked for, every node a server of its own. With a `bus`, which
    is to run for as long as they do, links between them lead through it."""

    def __init__(
        self,
        directory: Path,
        *,
        primaries: int = 3,
        replicas: int = 0,
        options: Iterable[str] = (),
        bus: ClusterBus | None = None,
    ) -> None:
        self.bus = bus
        self.primaries = [_node(directory / f"primary-{n}", options, bus) for n in range(primaries)]
        self.replicas = [_node(directory / f"replica-{n}", options, bus) for n in range(primaries * replicas)]
        self._running = ExitStack()

    @property
    def servers(self) -> list[RedisServer]:
        """All nodes."""
        return [*self.primaries, *self.replicas]

    def url(self, database: int = 0) -> str:
        """For `REDIS_URL`; a cluster has database 0 only."""
        if database:
            raise ValueError(f"a cluster has no database {database}")
        return f"redis+cluster://{','.join(f'{LOOPBACK}:{server.port}' for server in self.servers)}/"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            self._join()
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def signal(self, number: Signals) -> None:
        """Sends a signal to all nodes."""
        for server in self.servers:
            server.signal(number)

    def kill(self) -> None:
        """SIGKILL for all nodes."""
        for server in self.servers:
            server.kill()

    def start(self) -> Self:
        """Starts nodes again that were killed, and waits until they serve all slots."""
        for server in self.servers:
            server.start()
        self.wait_until_well()
        return self

    def _join(self) -> None:
        clients = [client_of(server) for server in self.servers]
        each = -(-SLOTS // len(self.primaries))
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number < len(self.primaries):
                last = min((number + 1) * each, SLOTS) - 1
                client.execute_command("CLUSTER ADDSLOTSRANGE", number * each, last)
            if number:
                first = self.servers[0]
                client.execute_command("CLUSTER MEET", LOOPBACK, first.port, _announced(first))
        wait_until(
            lambda: all(_state(client)["cluster_known_nodes"] == str(len(clients)) for client in clients),
            seconds=30,
            what="the nodes know each other",
        )
        for number, replica in enumerate(self.replicas):
            primary = clients[number % len(self.primaries)].execute_command("CLUSTER MYID")
            client_of(replica).execute_command("CLUSTER REPLICATE", primary)
        self.wait_until_well()
        self.wait_until_replicated()

    def wait_until_well(self) -> None:
        """Waits until every node that runs says that all slots are served."""
        clients = [client_of(server) for server in self.servers if server.running]
        wait_until(
            lambda: all(_state(client)["cluster_state"] == "ok" for client in clients),
            seconds=30,
            what="the cluster serves all slots",
        )

    def wait_until_replicated(self) -> None:
        """Waits until every replica that runs has its primary's data."""

        def is_in_step(client: Redis) -> bool:
            told: Any = client.info("replication")
            return bool(told["role"] == "master" or told["master_link_status"] == "up")

        clients = [client_of(server) for server in self.servers if server.running]
        wait_until(
            lambda: all(map(is_in_step, clients)), seconds=30, what="replicas have what their primaries have"
        )


def client_of(server: RedisServer) -> Redis:
    """A client of one node."""
    import redis

    return redis.Redis(host=LOOPBACK, port=server.port, protocol=2, socket_timeout=10)


def _node(directory: Path, options: Iterable[str], bus: ClusterBus | None) -> RedisServer:
    port = free_port()
    of_cluster = ["--cluster-enabled", "yes", "--cluster-port", str(port)]
    if bus is not None:
        of_cluster += ["--cluster-announce-bus-port", str(bus.port_to(port))]
    of_cluster += ["--cluster-require-full-coverage", "no"]  # a node that is away stops what lives there
    of_cluster += ["--cluster-node-timeout", str(NODE_TIMEOUT), "--cluster-replica-validity-factor", "0"]
    return RedisServer.at(directory, options=[*of_cluster, *options])


def bus_port(server: RedisServer) -> int:
    """On which a node listens to the others."""
    return int(server.command[server.command.index("--cluster-port") + 1])


def _announced(server: RedisServer) -> int:
    name = "--cluster-announce-bus-port"
    return int(server.command[server.command.index(name) + 1]) if name in server.command else bus_port(server)


def _state(client: Any) -> dict[str, str]:
    info = client.execute_command("CLUSTER INFO")
    return info if isinstance(info, dict) else dict(line.split(":") for line in info.decode().split())
