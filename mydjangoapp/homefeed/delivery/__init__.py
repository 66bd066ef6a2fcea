"""Carrying one photo into home feeds: claim a batch, push it, count.

On a single Redis (`claiming.py`, `serving.py`) the state of a running fan-out moves in the same atomic step
as the pushes (`lua/slice.lua`), so a worker that dies leaves nothing half done, and a message that arrives
twice finds its work claimed (`lua/claim.lua`). On a cluster state and feeds are on different nodes: see
`cluster.py`. `engines.py` takes the one that `REDIS_URL` asks for.
"""

from .claiming import GUARD_AFTER, Beginning, Claim, Message, Verdict
from .counters import Counters, cancel, counters, note_built, note_pulled, under_way
from .ended import Ended, begin_again, note_end, retire, take_ended
from .engines import begin, claim, may_forget, serve
from .limits import LARGEST_ID, trim_slack
from .serving import Served
from .slices import Status

__all__ = [
    "GUARD_AFTER",
    "LARGEST_ID",
    "Beginning",
    "Claim",
    "Counters",
    "Ended",
    "Message",
    "Served",
    "Status",
    "Verdict",
    "begin",
    "begin_again",
    "cancel",
    "claim",
    "counters",
    "may_forget",
    "note_built",
    "note_end",
    "note_pulled",
    "retire",
    "serve",
    "take_ended",
    "trim_slack",
    "under_way",
]
