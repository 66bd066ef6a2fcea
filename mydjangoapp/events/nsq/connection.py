"""One TCP connection to one nsqd."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from ...exceptions import EventsRefused, EventsUnavailable
from . import wire
from .wire import Frame

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 2.0
HEARTBEAT_SECONDS = 5.0  # nsqd's own 30 would notice a dead connection after a minute
SILENT_SECONDS = 3 * HEARTBEAT_SECONDS


class Connection:
    """Subscribed to a channel. A thread of its own reads, and answers heartbeats whatever a handler does.

    `deliver` is called with each message, in that thread. Raises `EventsUnavailable` if nsqd does not
    answer, `EventsRefused` if it does not take what we say.
    """

    def __init__(
        self,
        address: tuple[str, int],
        topic: str,
        channel: str,
        *,
        timeout: float,
        deliver: Callable[[Connection, Frame], None],
    ) -> None:
        self.address = address
        self.is_open = True
        self.longest = 0.0
        self._deliver = deliver
        self._ready = 0
        self._sending = threading.Lock()
        self._leaving = threading.Event()
        try:
            self._socket = socket.create_connection(address, CONNECT_SECONDS)
        except OSError as error:
            raise self._gone(error) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb", buffering=1 << 16)
        try:
            self._introduce(topic, channel, timeout)
        except BaseException:
            self.close()
            self._stream.close()
            raise
        self._socket.settimeout(SILENT_SECONDS)
        self._thread = threading.Thread(target=self._read, name=f"nsq {address[0]}", daemon=True)
        self._thread.start()

    def _gone(self, why: object) -> EventsUnavailable:
        return EventsUnavailable(
            f"nsqd at {self.address[0]}:{self.address[1]} does not answer ({why}). Check that it runs and "
            "that MYDJANGOAPP['EVENTS_URL'] names its TCP port."
        )

    def _introduce(self, topic: str, channel: str, timeout: float) -> None:
        options = {
            "client_id": str(os.getpid()),
            "hostname": socket.gethostname(),
            "user_agent": "mydjangoapp",
            "feature_negotiation": True,
            "heartbeat_interval": round(HEARTBEAT_SECONDS * 1000),
            "msg_timeout": round(timeout * 1000),
            "output_buffer_timeout": 25,  # ms, the least; nsqd's own 250 is how long a lone message waits
        }
        try:
            self._socket.sendall(wire.MAGIC + wire.identify(options))
            features: dict[str, Any] = json.loads(self._answer())
            if features.get("auth_required"):
                raise EventsRefused(
                    "nsqd wants AUTH, which is not supported: put it behind a private network."
                )
            self._most_ready = int(features.get("max_rdy_count", 2_500))
            self.longest = features.get("max_msg_timeout", 900_000) / 1000
            self._socket.sendall(wire.command("SUB", topic, channel))
            self._answer()
        except (OSError, EOFError, ValueError) as error:
            raise self._gone(error) from error

    def _answer(self) -> bytes:
        while True:
            kind, data = self._frame()
            if kind == wire.ERROR:
                raise EventsRefused(f"nsqd at {self.address[0]} says {data.decode(errors='replace')}")
            if data != wire.HEARTBEAT:
                return data

    def _frame(self) -> tuple[int, bytes]:
        header = self._exactly(wire.HEADER.size)
        size, kind = wire.HEADER.unpack(header)
        return kind, self._exactly(size - 4)

    def _exactly(self, size: int) -> bytes:
        data: bytes | None = self._stream.read(size)
        if data is None or len(data) < size:
            raise EOFError("it has closed the connection")
        return data

    def _read(self) -> None:
        try:
            while True:
                kind, data = self._frame()
                if kind == wire.MESSAGE:
                    self._deliver(self, wire.message(data))
                elif data == wire.HEARTBEAT:
                    self.send(wire.command("NOP"))
                elif data == wire.CLOSE_WAIT:
                    self._leaving.set()
                elif kind == wire.ERROR:
                    said = data.decode(errors="replace")
                    if not data.startswith(wire.HARMLESS):
                        raise EOFError(said)
                    logger.debug("nsqd at %s: %s", self.address[0], said)
        except (OSError, EOFError, ValueError, struct.error) as error:
            if self.is_open:
                logger.warning("%s", self._gone(error))
        finally:
            self.close()
            self._stream.close()

    def send(self, data: bytes) -> bool:
        """False if the connection is gone."""
        if not self.is_open:
            return False
        try:
            with self._sending:
                self._socket.sendall(data)
            return True
        except OSError:
            self.close()
            return False

    def ready(self, number: int) -> None:
        """Tells nsqd how many unfinished messages this connection may have."""
        number = min(number, self._most_ready)
        if number != self._ready:
            self._ready = number
            self.send(wire.command("RDY", number))

    def leave(self, seconds: float) -> None:
        """Asks for no more messages, and waits until nsqd has heard it."""
        self.ready(0)
        if self.send(wire.command("CLS")):
            self._leaving.wait(seconds)

    def close(self) -> None:
        """Closes the connection without telling nsqd."""
        self.is_open = False
        self._leaving.set()
        with contextlib.suppress(OSError):  # it is closed already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
