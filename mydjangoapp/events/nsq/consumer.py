"""One process's part in a channel, on all nsqd that have its topic."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ...exceptions import EventsUnavailable, FeedError
from .. import transport
from ..message import Delivery, Outgoing
from . import http, wire
from .address import Addresses
from .connection import Connection
from .memory import Memory
from .wire import Frame

logger = logging.getLogger(__name__)

LOOK_SECONDS = 10.0  # between two questions to nsqlookupd
RECONNECT_SECONDS = 1.0
TEND_SECONDS = 0.2
LINGER_SECONDS = 0.002  # after a message for the next; nsqd sends them one by one


Key = tuple[Connection, bytes]


class Receipt(NamedTuple):
    """Which delivery of a message: `attempts` as nsqd counts, as the id stays the same."""

    connection: Connection
    id: bytes
    attempts: int

    @property
    def key(self) -> Key:
        """Two nsqd may give the same id."""
        return self.connection, self.id


class Hosts(Protocol):
    """What a consumer needs of its transport."""

    longest_delay: float

    @property
    def at(self) -> Addresses: ...

    def put(self, topic: str, bodies: Sequence[bytes], delay: float = 0) -> None: ...


class NsqConsumer(transport.Consumer):
    """nsqd pushes; here it may do so only while somebody takes, so that what waits does not wait in a
    busy process. A message that arrives nevertheless is kept alive (TOUCH) until it is taken."""

    def __init__(self, of: Hosts, topic: str, channel: str, timeout: float) -> None:
        self._of, self._topic, self._channel, self._timeout = of, topic, channel, timeout
        self._memory = Memory(topic, channel)
        self._connections: dict[tuple[str, int], Connection] = {}
        self._arrived: deque[Delivery] = deque()
        self._something = threading.Condition()
        self._in_hand: dict[Key, Receipt] = {}
        self._first_taken: dict[Key, float] = {}
        self._alive: dict[Key, float] = {}
        # After a suspect the next may be one, too. At the start nobody knows what killed the last process, so
        # any message may be one.
        self._is_careful = True
        self._problem = "it has not been tried"
        self._closing = threading.Event()
        self._found: set[tuple[str, int]] = set(of.at.tcp)
        self._look_at = 0.0
        self._retry_at: dict[tuple[str, int], float] = {}
        self._connect()
        self._thread = threading.Thread(target=self._tend, name="nsq", daemon=True)
        self._thread.start()

    # What the thread does

    def _tend(self) -> None:
        while not self._closing.wait(TEND_SECONDS):
            try:
                self._connect()
                self._keep_alive()
            except Exception:  # it must go on
                logger.exception("NSQ: the connections of %s %s", self._topic, self._channel)

    def _connect(self) -> None:
        now = time.monotonic()
        if self._of.at.lookupd and now >= self._look_at:
            self._look_at = now + (LOOK_SECONDS if self._look() else RECONNECT_SECONDS)
        for address in self._found:
            there = self._connections.get(address)
            if (there and there.is_open) or now < self._retry_at.get(address, 0.0):
                continue
            try:
                self._connections[address] = Connection(
                    address, self._topic, self._channel, timeout=self._timeout, deliver=self._deliver
                )
            except FeedError as error:
                self._problem = str(error)
                self._retry_at[address] = time.monotonic() + RECONNECT_SECONDS

    def _look(self) -> bool:
        """Asks every nsqlookupd which nsqd have the topic; False if none could be asked."""
        heard = False
        found: set[tuple[str, int]] = set()
        for host in self._of.at.lookupd:
            try:
                answer = http.get(host, "/lookup", topic=self._topic) or {}
            except FeedError as error:
                self._problem = str(error)
                continue
            heard = True
            for one in answer.get("producers") or ():
                found.add((one["broadcast_address"], one["tcp_port"]))
        if heard:
            self._found = found | {at for at, one in self._connections.items() if one.is_open}
        return heard and bool(found)

    def _keep_alive(self) -> None:
        now = time.monotonic()
        with self._something:
            waiting = [one for one in self._arrived if now - one.taken_at > self._timeout / 2]
            timed_out = [key for key, at in self._alive.items() if now - at > self._timeout + TEND_SECONDS]
            for key in timed_out:
                self._forget(key)
        for one in waiting:
            self.touch(one)

    def _deliver(self, connection: Connection, frame: Frame) -> None:
        receipt = Receipt(connection, frame.id, frame.attempts)
        delivery, only_for = wire.opened(frame, receipt)
        if only_for and only_for != self._channel:
            connection.send(wire.on("FIN", frame.id))
            return
        with self._something:
            self._in_hand[receipt.key] = receipt
            self._first_taken[receipt.key] = self._alive[receipt.key] = time.monotonic()
            self._arrived.append(delivery)
            self._something.notify()

    # What the consumer's user does

    def take(self, most: int, wait: float) -> Sequence[Delivery]:
        """At most so many messages. Raises `EventsUnavailable` if no nsqd can be reached."""
        end = time.monotonic() + wait
        taken: list[Delivery] = []
        try:
            while len(taken) < most:
                self._ready(1 if self._is_careful else most - len(taken))
                with self._something:
                    if not self._arrived:
                        left = LINGER_SECONDS if taken else min(TEND_SECONDS, end - time.monotonic())
                        if left <= 0 or (not self._something.wait(left) and taken):
                            break
                    while self._arrived and len(taken) < most and not _ends(taken, self._arrived[0]):
                        taken.append(self._arrived.popleft())
                    is_full = bool(taken) and (taken[0].is_suspect or bool(self._arrived))
                if is_full:
                    break
                if not taken and time.monotonic() >= end:
                    break
        finally:
            self._ready(0)
        self._is_careful = bool(taken) and taken[0].is_suspect
        if self._is_careful:
            self._give_back_arrived()
        taken = [one for one in taken if self._holds(one)]
        if not taken and not self._open():
            raise EventsUnavailable(
                f"No nsqd has topic {self._topic}, or none can be reached: {self._problem}"
            )
        return taken

    def _give_back_arrived(self) -> None:
        """Gives back, uncounted, what arrived beside a suspect: this process may die of the suspect."""
        while self._arrived:
            try:
                self.requeue(self._arrived.popleft(), 0, count_attempt=False)
            except FeedError as error:
                logger.warning("a message comes again after its time-out: %s", error)

    def _open(self) -> list[Connection]:
        return [one for one in list(self._connections.values()) if one.is_open]

    def _ready(self, more: int) -> None:
        connections = self._open()
        with self._something:
            held: dict[Connection, int] = dict.fromkeys(connections, 0)
            for receipt in self._in_hand.values():
                if receipt.connection in held:
                    held[receipt.connection] += 1
        for connection in connections:
            connection.ready(held[connection] + max(1, more // len(connections)) if more else 0)

    def _holds(self, delivery: Delivery) -> bool:
        """Whether the message is still in hand: nsqd does not tell, it only refuses later commands."""
        receipt: Receipt = delivery.receipt
        with self._something:
            latest = self._in_hand.get(receipt.key)
        is_in_time = time.monotonic() - delivery.taken_at < self._timeout
        return latest == receipt and is_in_time and receipt.connection.is_open

    def _let_go(self, delivery: Delivery) -> None:
        receipt: Receipt = delivery.receipt
        with self._something:
            if self._in_hand.get(receipt.key) == receipt:
                self._forget(receipt.key)

    def _forget(self, key: Key) -> None:
        for kept in (self._in_hand, self._first_taken, self._alive):
            kept.pop(key, None)

    def remembered(self, ids: Sequence[str]) -> set[str]:
        return self._memory.remembered(ids)

    def finish(self, deliveries: Sequence[Delivery], *, remember: bool = True) -> None:
        """Remembers them first: if the process is killed in between, they come again and are not handled."""
        if remember:
            self._memory.remember([one.id for one in deliveries])
        by_connection: dict[Connection, list[bytes]] = {}
        for one in deliveries:
            by_connection.setdefault(one.receipt.connection, []).append(wire.on("FIN", one.receipt.id))
            self._let_go(one)
        for connection, commands in by_connection.items():
            connection.send(b"".join(commands))

    def requeue(self, delivery: Delivery, delay: float, *, count_attempt: bool) -> bool:
        """nsqd counts every delivery; one that is not to count is put in anew, for this channel alone."""
        if not self._holds(delivery):
            self._let_go(delivery)
            return False
        receipt: Receipt = delivery.receipt
        delay = min(delay, self._of.longest_delay)
        if count_attempt:
            sent = receipt.connection.send(wire.on("REQ", receipt.id, max(0, round(delay * 1000))))
        else:
            body = delivery.body if isinstance(delivery.body, str) else delivery.body.decode(errors="replace")
            one = Outgoing(delivery.id, self._topic, delivery.action, body, delivery.published_at)
            self._of.put(self._topic, [wire.envelope(one, self._channel, delivery.attempts - 1)], delay)
            sent = receipt.connection.send(wire.on("FIN", receipt.id))
        self._let_go(delivery)
        return sent

    def bury(self, delivery: Delivery, reason: str) -> bool:
        if not self._holds(delivery):
            self._let_go(delivery)
            return False
        self._memory.bury(delivery, reason)
        sent = bool(delivery.receipt.connection.send(wire.on("FIN", delivery.receipt.id)))
        self._let_go(delivery)
        return sent

    def touch(self, delivery: Delivery) -> bool:
        """Works for 15 minutes at most (nsqd's --max-msg-timeout): then nsqd lets go silently."""
        receipt: Receipt = delivery.receipt
        if not self._holds(delivery):
            return False
        first = self._first_taken.get(receipt.key, 0.0)
        if time.monotonic() + self._timeout > first + receipt.connection.longest:
            return False
        if not receipt.connection.send(wire.on("TOUCH", receipt.id)):
            return False
        delivery.taken_at = self._alive[receipt.key] = time.monotonic()
        return True

    def close(self) -> None:
        """What has arrived and was not taken is given back, uncounted."""
        self._closing.set()
        self._thread.join(5)
        for connection in self._open():
            connection.leave(1.0)
        self._give_back_arrived()
        for connection in self._open():
            connection.close()


def _ends(taken: Sequence[Delivery], following: Delivery) -> bool:
    """Whether the next one has to wait for another call: a suspect is taken alone."""
    return bool(taken) and (following.is_suspect or taken[-1].is_suspect)
