"""The network between the nodes of a cluster: every link between two of them leads through here, and all of
one node's can be cut. Its clients do not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from .servers import LOOPBACK, free_port

# The header of a message between nodes: https://github.com/redis/redis/blob/7.0/src/cluster.h
SENDER = slice(40, 80)
Result = TypeVar("Result")


class _End(NamedTuple):
    """One end of a link: who opened it, by node id, and to which port."""

    opener: bytes
    port: int
    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]


class ClusterBus:
    """Runs in a thread of its own, for as long as its block does."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="cluster bus", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._links: set[_End] = set()
        self._alone: tuple[bytes, int] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def port_to(self, bus_port: int) -> int:
        """A port that leads to this one, for the node there to announce."""
        port = free_port()
        self._servers.append(self._do(asyncio.start_server(partial(self._pass_on, bus_port), LOOPBACK, port)))
        return port

    def cut_off(self, node_id: bytes, bus_port: int) -> None:
        """Cuts this node's links in both directions, until `join`."""
        self._do(self._cut(node_id, bus_port))

    def join(self) -> None:
        """Nodes may link to each other again."""
        self._alone = None

    def _do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _cut(self, node_id: bytes, bus_port: int) -> None:
        self._alone = node_id, bus_port
        for link in [link for link in self._links if self._is_cut(link.opener, link.port)]:
            for writer in link.writers:
                writer.transport.abort()

    def _is_cut(self, opener: bytes, port: int) -> bool:
        return self._alone is not None and (opener == self._alone[0] or port == self._alone[1])

    async def _pass_on(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readexactly(SENDER.stop)
            if not self._is_cut(head[SENDER], port):
                there_reader, there = await asyncio.open_connection(LOOPBACK, port)
                link = _End(head[SENDER], port, (writer, there))
                self._links.add(link)
                there.write(head)
                try:
                    await asyncio.gather(_copy(reader, there), _copy(there_reader, writer))
                finally:
                    self._links.discard(link)
                    there.transport.abort()
        writer.transport.abort()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one end closes; raises then, so that the other direction ends, too."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError
