"""Commands of Redis as tuples, and by which key each is sent to a node of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Command = tuple[Any, ...]
"""Name and arguments, as redis-py's `execute_command` takes them."""

_OF_ANY_NODE = frozenset({"PING", "INFO", "TIME", "CONFIG GET", "COMMAND INFO"})
OF_ALL_NODES = frozenset(
    {"FLUSHALL", "FLUSHDB", "SCRIPT LOAD", "SCRIPT FLUSH", "CONFIG SET", "DBSIZE", "KEYS"}
)
OF_EACH_KEY = frozenset({"DEL", "UNLINK", "EXISTS", "MGET"})


def key_of(command: Command) -> str | bytes | None:
    """The key, the first of several, by which a command is sent to a node; None if it has none."""
    name = command[0]
    if name in _OF_ANY_NODE or name in OF_ALL_NODES:
        return None
    if name in ("EVAL", "EVALSHA"):
        return command[3]  # type: ignore[no-any-return]
    if name == "XREADGROUP":
        return command[command.index(b"STREAMS") + 1]  # type: ignore[no-any-return]
    return command[1]  # type: ignore[no-any-return]


def keys_of(commands: Sequence[Command]) -> list[str | bytes | None]:
    """The key of each; where a command has none, that of the one after it, at the end of the one before. All
    None if none has one."""
    keys = [key_of(command) for command in commands]
    following = next((key for key in reversed(keys) if key is not None), None)
    filled = []
    for key in reversed(keys):
        following = following if key is None else key
        filled.append(following)
    return filled[::-1]
