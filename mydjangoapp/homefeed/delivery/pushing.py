"""Pushing one photo to many users' feeds on a cluster: grouped by node, some calls to each node at once."""

from __future__ import annotations

import logging
import math
import secrets
import time
from binascii import crc_hqx
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis
from redis.exceptions import (
    ClusterDownError,
    ConnectionError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from ...conf import conf
from ...connections.hash_tags import SLOTS, slot_of
from ...connections.redis_client import breaker_of
from ...connections.redis_cluster import Cluster
from ...connections.redis_lives import life_at
from ...connections.redis_topology import Node
from .. import keys, scripts
from ..feeds_redis import client, edge
from .limits import trim_slack

logger = logging.getLogger(__name__)

CLOCK_SECONDS = 10.0  # after which a node is asked for its time again: clocks are slewed

_clock_ahead: dict[tuple[str, Node], tuple[float, float]] = {}
"""By how much nodes' clocks are ahead of this process's monotonic one, by their last answers; and when."""


def new_token() -> str:
    """Names a claim."""
    return secrets.token_hex(8)


@dataclass
class Outcome:
    """What has become of pushes, by users. `elsewhere`: their feeds are on another node by now, surely not
    pushed to. `unsent`: surely not pushed to either, because their node does not answer, was asked too late
    or takes no writes. `unsure`: it has not answered their push. `refused`: their feeds take no push.
    `lives`: of the nodes that have acknowledged pushes. `problem`: what a node said that takes no writes at
    all (out of memory)."""

    elsewhere: list[bytes] = field(default_factory=list)
    unsent: list[bytes] = field(default_factory=list)
    unsure: list[bytes] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)
    lives: set[str] = field(default_factory=set)
    problem: ResponseError | None = None


class Pushes:
    """Pushes of one photo."""

    def __init__(self, photo_id: int) -> None:
        self._photo_id = photo_id
        self._redis = client()
        self._cluster = cast(Cluster, self._redis)  # or `engines` would have taken the other engine
        self._words: list[Any] = [*keys.homefeed_words(), conf.MAX_LENGTH, trim_slack()]
        self._words.append(int(conf.INACTIVE_AFTER is not None))
        self.users_per_call = conf.SLICE_SIZE
        self._state = crc_hqx(keys.homefeed("").encode(), 0)

    def push(self, users: Sequence[bytes], *, void_at: float, one_by_one: bool = False) -> Outcome:
        """Pushes to each of these users. With `void_at`, in this process's monotonic clock, without looking
        whether the photo is there, and not later. `one_by_one`: each where its slot is, also on its way;
        their floors go.
        """
        outcome = Outcome()
        with edge():
            if one_by_one and users:
                outcome.lives.update(life or "unknown" for life in self._cluster.each_life().values())
                give_up_at = time.monotonic() + conf.REDIS_TIMEOUT
                for user in users:
                    if time.monotonic() < give_up_at:
                        self._push_one(user, outcome)
                    else:
                        outcome.unsent.append(user)
            else:
                self._push_grouped(users, void_at, outcome)
        return outcome

    def _push_one(self, user: bytes, outcome: Outcome) -> None:
        name = keys.homefeed(user.decode())
        try:
            # While its slot moves, key by key, the list may be on a node where its floor is not yet; trimmed
            # there it would have a hole. So the floor goes first, wherever it is: the list is built anew.
            self._cluster.execute_command("DEL", keys.floor(user.decode()), keys.token(user.decode()))
            arguments = self._arguments(0.0, [user])
            by_hash, by_text = scripts.push_many.commands(self._redis, [name], arguments)
            try:
                [reply] = self._cluster.call(by_hash)
            except NoScriptError:
                [reply] = self._cluster.call(by_text)
        except (ConnectionError, TimeoutError):
            outcome.unsure.append(user)
            return
        except ResponseError as error:
            outcome.problem = error
            outcome.unsent.append(user)
            return
        self._read(reply, [user], outcome)

    def _arguments(self, deadline: float, users: Sequence[bytes]) -> list[Any]:
        """`deadline` in the clock of the node; 0: each push looks whether the photo is there."""
        guarded = int(not deadline)
        return [self._photo_id, *self._words, guarded, f"{deadline:.6f}" if deadline else 0, *users]

    def _push_grouped(self, users: Sequence[bytes], void_at: float, outcome: Outcome) -> None:
        calls: dict[Node, _Calls] = {}
        with ExitStack() as stack:
            for node, some in self._by_node(users, outcome).items():
                calls[node] = at_node = _Calls(self, node, some, void_at, outcome)
                stack.callback(at_node.close)
                at_node.begin()
            while sum(at_node.go_on() for at_node in calls.values()):  # one answer of each in turn
                pass
        if outcome.elsewhere or outcome.unsent or outcome.unsure:
            self._cluster.topology.refresh()

    def slots_of(self, users: Sequence[bytes]) -> list[int]:
        """The slot of each user's feed."""
        if b"}" in b" ".join(users):
            return [slot_of(keys.homefeed(user.decode())) for user in users]
        state, crc = self._state, crc_hqx
        return [crc(user, state) % SLOTS for user in users]

    def _by_node(self, users: Sequence[bytes], outcome: Outcome) -> dict[Node, list[bytes]]:
        nodes, numbers = self._cluster.topology.owners()
        groups: list[list[bytes]] = [[] for _ in range(len(nodes) + 1)]  # the last: nobody serves their slots
        for user, slot in zip(users, self.slots_of(users), strict=True):
            groups[numbers[slot]].append(user)
        outcome.unsent += groups.pop()
        return {node: some for node, some in zip(nodes, groups, strict=True) if some}

    def _read(self, reply: list[Any], users: Sequence[bytes], outcome: Outcome) -> None:
        is_late, _, elsewhere, refused, error = reply
        if is_late:
            outcome.unsent += users
            return
        outcome.elsewhere += [users[number - 1] for number in elsewhere]
        if refused:
            outcome.refused += [users[number - 1] for number in refused]
            key = keys.homefeed(users[refused[-1] - 1].decode())
            logger.warning(
                "photo %s left out of %d feeds, %r among them: %r", self._photo_id, len(refused), key, error
            )


class _Calls:
    """The calls to one node, `SLICE_SIZE` users each, `SLICES_IN_FLIGHT` at once. Each is sent once."""

    def __init__(
        self, pushes: Pushes, node: Node, users: list[bytes], void_at: float, outcome: Outcome
    ) -> None:
        self._pushes = pushes
        self._url = pushes._cluster.topology.url_of(node)
        self._clock = (pushes._cluster.url, node)
        self._client = pushes._cluster.client_of(node)
        self._users = users
        self._sent = 0  # so many of them
        self._void_at = void_at
        self._outcome = outcome
        self._waiting: deque[tuple[list[bytes], tuple[Any, ...]]] = deque()
        self._connection: Any = None
        self._life = ""

    def begin(self) -> None:
        """Sends the first calls."""
        if not breaker_of(self._url).allows():
            self._lose()
            return
        try:
            self._connection = self._client.connection_pool.get_connection()
            self._life = life_at(self._connection)  # before the first push: see `ended.py`
            noted_at = _clock_ahead.get(self._clock, (0.0, -math.inf))[1]
            if self._void_at and time.monotonic() - noted_at > CLOCK_SECONDS:
                self._connection.send_command("TIME")
                seconds, microseconds = self._connection.read_response()
                self._note_time(int(seconds) + int(microseconds) / 1e6)
            for _ in range(conf.SLICES_IN_FLIGHT):
                self._send()
        except (ConnectionError, TimeoutError) as error:
            self._lose(error)

    def go_on(self) -> bool:
        """Reads one answer and sends the next call; False if there is nothing more to read."""
        if not self._waiting:
            return False
        users, by_text = self._waiting[0]
        try:
            try:
                reply = self._connection.read_response()
            except NoScriptError:
                self._waiting.popleft()
                self._waiting.append((users, by_text))
                self._connection.send_command(*by_text, check_health=False)
                return True
            self._waiting.popleft()
            self._note_time(float(reply[1]))
            self._pushes._read(reply, users, self._outcome)
            self._outcome.lives.add(self._life)
            self._send()
        except (ReadOnlyError, ClusterDownError) as error:
            self._turn_away(error)  # another node has taken its place, or will
        except (ConnectionError, TimeoutError) as error:
            self._lose(error)
        except ResponseError as error:
            self._outcome.problem = error
            self._turn_away(error)
        return True

    def close(self) -> None:
        """Gives the connection back; one with an answer to come is closed."""
        if self._waiting:
            self._disconnect()
        if self._connection is not None:
            self._client.connection_pool.release(self._connection)

    def _send(self) -> None:
        users = self._users[self._sent : self._sent + self._pushes.users_per_call]
        if not users:
            return
        self._sent += len(users)
        deadline = self._void_at + _clock_ahead[self._clock][0] if self._void_at else 0.0
        arguments = self._pushes._arguments(deadline, users)
        by_hash, by_text = scripts.push_many.commands(self._pushes._redis, [], arguments)
        self._waiting.append((users, by_text))
        # By redis-py's own way it would take twice as long: it looks at each argument.
        packed = [hiredis.pack_command(by_hash)]
        # A health check would read the answer to a call that is under way for its own.
        self._connection.send_packed_command(packed, check_health=len(self._waiting) == 1)

    def _note_time(self, now: float) -> None:
        # Told before it is read here: the difference is never too large, so no deadline is too late.
        read_at = time.monotonic()
        _clock_ahead[self._clock] = now - read_at, read_at
        breaker_of(self._url).reset()

    def _turn_away(self, error: RedisError) -> None:
        """The node has refused a call before its first push. Those under way have answers of their own."""
        logger.warning("node %s:%s: %s", *self._clock[1], error)
        users, _ = self._waiting.popleft()
        self._outcome.unsent += [*users, *self._users[self._sent :]]
        self._sent = len(self._users)

    def _lose(self, error: RedisError | None = None) -> None:
        """Nobody knows what became of the calls under way."""
        if isinstance(error, TimeoutError):
            breaker_of(self._url).trip()
        if error is not None:
            logger.warning("node %s:%s: %s", *self._clock[1], error)
        for users, _ in self._waiting:
            self._outcome.unsure += users
        self._outcome.unsent += self._users[self._sent :]
        self._sent = len(self._users)
        self._waiting.clear()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
