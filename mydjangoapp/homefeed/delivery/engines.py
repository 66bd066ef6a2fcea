"""The same three steps on a single server and on a cluster."""

from __future__ import annotations

from collections.abc import Callable

from ..feeds_redis import store
from . import claiming, cluster, serving
from .claiming import Beginning, Claim, Message
from .serving import Served


def claim(message: Message) -> Claim:
    """Asks for the batch that a message names; its start is counted before it is granted.

    `absent` where Redis knows nothing of the fan-out: see `begin`. Raises `FeedsUnavailable`, `FeedsRefused`.
    """
    return cluster.claim(message) if store().is_cluster else claiming.claim(message)


def begin(message: Message, beginning: Beginning) -> Claim:
    """The same for a fan-out that may begin. Raises `FeedsUnavailable`, `FeedsRefused`."""
    return cluster.begin(message, beginning) if store().is_cluster else claiming.begin(message, beginning)


def may_forget() -> bool:
    """Whether followers may have a photo of whose fan-out Redis knows nothing any more."""
    return store().is_cluster


def serve(batch: Claim, enqueue: Callable[[int], bool]) -> Served:
    """Pushes the photo to the followers of `batch`.

    Calls `enqueue` in a thread of its own, with the first index of the next batch, while followers are left
    behind this one; and again if that returned False. What was served when `FeedsUnavailable` or
    `FeedsRefused` is raised stays served, once.
    """
    return (
        cluster.serve(batch, enqueue) if isinstance(batch, cluster.Batch) else serving.serve(batch, enqueue)
    )
