"""Carrying one photo into home feeds, on a single Redis: claim a batch, push it slice by slice, count.

The state of a running fan-out is the hash `fanout:{photo}`. It moves in the same atomic step as the pushes
(`lua/slice.lua`), so a worker that dies leaves nothing half done, and a message that arrives twice finds its
work claimed (`lua/claim.lua`).
"""

from .claiming import GUARD_AFTER, Beginning, Claim, Message, Verdict, begin, claim
from .counters import Counters, cancel, counters, note_built, note_pulled, under_way
from .ended import Ended, note_end, retire, take_ended
from .limits import LARGEST_ID, trim_slack
from .serving import Served, serve
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
    "cancel",
    "claim",
    "counters",
    "note_built",
    "note_end",
    "note_pulled",
    "retire",
    "serve",
    "take_ended",
    "trim_slack",
    "under_way",
]
