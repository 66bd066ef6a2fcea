"""The Lua scripts of the feeds: `lua/*.lua`."""

from __future__ import annotations

from functools import partial

from ..connections import redis_server
from .feeds_redis import store

Script = redis_server.Script
_script = partial(Script, package=__package__, store=store)

begin = _script("begin")
claim = _script("claim")
slice_ = _script("slice")
take_ended = _script("take_ended")
claim_batch = _script("claim_batch")
read_batch = _script("read_batch")
push_many = _script("push_many", flags=" flags=allow-cross-slot-keys")
commit_batch = _script("commit_batch")
begin_again = _script("begin_again")
put_off = _script("put_off")
give_back = _script("give_back")
note_built = _script("note_built")
note_taken = _script("note_taken")
look_at = _script("look_at")
apply_changes = _script("apply_changes")
begin_rewrite = _script("begin_rewrite")
append_rewrite = _script("append_rewrite")
copy_rewrite = _script("copy_rewrite")
swap_rewrite = _script("swap_rewrite")
begin_build = _script("begin_build")
swap_build = _script("swap_build")
give_receipts = _script("give_receipts")
begin_turn = _script("begin_turn")
end_turn = _script("end_turn")
