"""A pipeline for a cluster that sends each command once, see `redis_cluster.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis.commands import CoreCommands
from redis.exceptions import TryAgainError

from .redis_commands import Command, key_of

if TYPE_CHECKING:
    from redis import Redis


class Pipeline(CoreCommands):
    """Collects commands and runs them together, as redis-py's own.

    `run`: `Cluster.run`, for commands of any slots. `where`: does something at the node of a key; a
    transaction has keys of one slot.
    """

    def __init__(self, run: Callable[..., list[Any]], where: Callable[..., Any], transaction: bool) -> None:
        self._event_dispatcher: Any = None  # redis-py's commands want it
        self._run = run
        self._where = where
        self._transaction = transaction
        self._commands: list[tuple[Command, dict[str, Any]]] = []

    def execute_command(self, *command: Any, **options: Any) -> Pipeline:
        """Adds a command."""
        self._commands.append((command, options))
        return self

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The replies of all commands."""
        if not self._transaction:
            return self._run(self._commands, raises=raise_on_error)
        key = next(key for command, _ in self._commands if (key := key_of(command)) is not None)
        replies: list[Any] = self._where(key, lambda client, asking: self._at(client, asking, raise_on_error))
        return replies

    def _at(self, client: Redis, asking: bool, raise_on_error: bool) -> list[Any]:
        if asking:
            raise TryAgainError("the slot of this transaction moves")
        pipeline = client.pipeline(transaction=True)
        for command, options in self._commands:
            pipeline.execute_command(*command, **options)
        return pipeline.execute(raise_on_error=raise_on_error)
