"""Steps at which a process can be made to die, so that tests can show what then becomes of the feeds.

`FEEDS_FAILPOINT=step` or `step:photo` in the environment: the process that reaches that step (with that
photo) is killed as by `kill -9`. `FEEDS_FAILPOINT_KILLS=group` takes the whole process group with it, a
worker and all its children. `FEEDS_FAILPOINT_ONCE=file`: only the first to reach it, who makes that file.
Without the variable nothing happens.
"""

from __future__ import annotations

import os
import signal

STEPS = {
    "committed": "the photo is committed, its message not sent",
    "claimed": "a batch is claimed; of a chain's first batch one slice has been served in the same step",
    "served": "a slice is served, the batch is not",
    "pushed": "a batch is pushed to the nodes of a cluster, its end not noted",
    "enqueued": "the next link is enqueued, this message not acknowledged",
    "deleted": "a deletion is committed, nothing has been told of it",
    "carried": "the batch is served, its message not acknowledged",
}


def reach(step: str, photo_id: int) -> None:
    """Dies here, if that is asked for."""
    asked = os.environ.get("FEEDS_FAILPOINT")
    if asked not in (step, f"{step}:{photo_id}"):
        return
    if once := os.environ.get("FEEDS_FAILPOINT_ONCE"):
        try:
            os.close(os.open(once, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
    if os.environ.get("FEEDS_FAILPOINT_KILLS") == "group":
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
