"""Carrying one photo into home feeds on a cluster: claim a batch, read it, push it per node, commit it.

The fan-out's state is on the author's node, the feeds are on all nodes, so no step does all at once. A batch
that is claimed for the first time is pushed without looking whether the photo is there, which costs a tenth;
each of those calls is sent once and is void after a deadline, in the clock of the node that it goes to (a
fence, as in Martin Kleppmann's "How to do distributed locking"). Whoever is not sure what became of a push -
an answer that did not come, a batch that is taken over - waits until the fence has passed and pushes again,
looking. So nobody gets a second copy, however long a call sleeps in a stopped server's buffer. No clocks are
compared; none may be set back by seconds while a batch is under way.

A primary that is cut off from the others may grant claims of which the replica that has taken its place
never hears. So a batch is pushed without looking only where all replicas, if there are any, have its claim:
then it is taken over there, and not claimed anew.

Followers whose node does not answer at all are left over (`leftovers.py`), and the chain goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from redis.exceptions import ResponseError

from ... import failpoints
from ...conf import conf
from ...exceptions import FeedError, FeedsUnavailable
from ...models import UserId
from .. import keys, queue, scripts, turns
from ..feeds_redis import client, edge
from . import pushing
from .claiming import GUARD_AFTER, Beginning, Claim, Message, claim_from
from .ended import note_end
from .leftovers import Leftover
from .limits import FENCE_SECONDS
from .order import Order
from .pushing import Pushes
from .serving import Served
from .slices import Status

logger = logging.getLogger(__name__)

READ_AT_ONCE = 2_500  # followers; reaching an index of a long list takes time by itself
REPLICA_SECONDS = 0.1  # within which a replica has a claim, unless it lags
MARGIN_SECONDS = 0.05  # longer than the clocks of two machines part in three seconds


@dataclass(frozen=True)
class Batch(Claim):
    """A claim on a cluster. `void_at`: when pushes without looking end, in this process's monotonic clock.
    `wait`: seconds until nobody else does so. `link`: what is to be enqueued at once, -1 for nothing.
    `leftover`: the only part of it that is still to be pushed, None for the whole batch."""

    token: str = ""
    generation: str = ""
    is_guarded: bool = True
    wait: float = 0.0
    link: int = -1
    void_at: float = 0.0
    leftover: Leftover | None = None


def claim(message: Message) -> Batch:
    """See `claiming.claim`. Two round trips."""
    return _claim(message, None)


def begin(message: Message, beginning: Beginning) -> Batch:
    """See `claiming.begin`; pushes nothing yet. Three round trips."""
    guard = beginning.guard or message.retried or _has_begun(message.photo_id, message.author_id)
    return _claim(message, replace(beginning, guard=guard))


def _has_begun(photo_id: int, author_id: UserId) -> bool:
    """Whether the photo is in its author's own feed, which gets it first, without having been built into
    it: then a chain whose state was lost has begun before."""
    with edge():
        pipeline = client().pipeline(transaction=False)
        pipeline.execute_command("LPOS", keys.homefeed(author_id), str(photo_id))
        pipeline.sismember(keys.built(author_id, photo_id), str(author_id))
        place, is_built = pipeline.execute(raise_on_error=False)
    return isinstance(place, int) and not is_built


def _claim(message: Message, beginning: Beginning | None) -> Batch:
    photo_id, author_id = message.photo_id, message.author_id
    ledger = beginning or Beginning()
    _note_taken(message)
    names = [keys.fanout(author_id, photo_id), keys.followers(author_id), keys.state(author_id)]
    names += [keys.running(author_id), keys.left(author_id, photo_id)]
    flags = (
        message.redelivered or message.retried,
        beginning is not None,
        ledger.guard,
        ledger.without_followers,
    )
    token = pushing.new_token()
    arguments: list[Any] = [photo_id, message.cursor, conf.BATCH_SIZE, conf.LEASE_SECONDS, *map(int, flags)]
    arguments += [str(author_id), token, GUARD_AFTER, ledger.attempts, conf.MAX_ATTEMPTS]
    arguments += ["" if ledger.pull_above is None else ledger.pull_above, int(not message.retried)]
    arguments += [conf.BATCHES_IN_FLIGHT, FENCE_SECONDS]
    void_at = time.monotonic() + FENCE_SECONDS  # not later than the author's node says
    answer, is_kept = scripts.claim_batch.and_wait(names, arguments, REPLICA_SECONDS)
    *figures, generation, is_guarded, wait, link, left = answer
    return claim_from(
        message,
        figures,
        Batch,
        token=token,
        generation=generation.decode(),
        is_guarded=bool(is_guarded) or not is_kept,
        wait=float(wait),
        link=link,
        void_at=void_at,
        leftover=Leftover.read(left.decode()),
    )


def _note_taken(message: Message) -> None:
    """Only the rescue asks: without it, it waits for longer."""
    try:
        queue.note_taken(message.sent_at)
    except FeedError as error:
        logger.warning("the message of photo %s is not counted: %s", message.photo_id, error)


def serve(batch: Batch, enqueue: Callable[[int], bool]) -> Served:
    """See `serving.serve`. Waits for a node that does not answer for some seconds only. What is left over
    then is taken up again, by this message when it comes again, if `FeedsUnavailable` or `FeedsRefused` is
    raised, or by another. If it is the author's node, the batch is, in the same way."""
    order = Order(enqueue, batch.photo_id, batch.link)
    try:
        if batch.link >= 0:
            order()
        if batch.wait > 0:
            time.sleep(batch.wait + MARGIN_SECONDS)  # until nobody pushes without looking: see above
        pushed = _Pushed(batch)
        if not pushed.all_of_it():
            return Served(Status.ABSENT)
        failpoints.reach("pushed", batch.photo_id)
        status, links, ended_at, comes_again = _commit(batch, pushed)
        for link in links:
            order.join()
            order.make_sure(time.monotonic() + conf.LEASE_SECONDS)
            order.link = link
            order()
    except FeedsUnavailable:
        _give_back(batch)
        raise
    finally:
        order.join()
    if status is Status.OVER:
        order.make_sure(time.monotonic() + conf.LEASE_SECONDS)
    if comes_again:
        raise pushed.problem()
    is_due = status is Status.ENDED and _is_settling_due(batch, ended_at)
    return Served(status, is_due)


def _give_back(batch: Batch) -> None:
    """Uncounts a start that got no further, because no node could be asked, or the author's own for a
    moment."""
    with suppress(FeedError):
        scripts.give_back([keys.fanout(batch.author_id, batch.photo_id)], [batch.token])


def _commit(batch: Batch, pushed: _Pushed) -> tuple[Status, list[int], bytes, int]:
    author_id, photo_id = batch.author_id, batch.photo_id
    names = [keys.fanout(author_id, photo_id), keys.followers(author_id), keys.state(author_id)]
    names += [keys.running(author_id), keys.built(author_id, photo_id), keys.left(author_id, photo_id)]
    figures = [*pushed.counts(), *pushed.lives]
    answer = scripts.commit_batch(names, [photo_id, batch.start, batch.token, *figures])
    status, links, ended_at, comes_again = answer
    return Status(status.decode()), links, ended_at, comes_again


def _is_settling_due(batch: Batch, ended_at: bytes) -> bool:
    """Notes the end for the settling. If that fails the rescue does it."""
    try:
        note_end(batch.photo_id, batch.author_id, float(ended_at))
        return turns.begin(keys.settling(), conf.SETTLE_SECONDS)
    except FeedError as error:
        logger.warning("photo %s has ended and is settled later: %s", batch.photo_id, error)
        return False


class _Pushed:
    """What has become of a batch's followers."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._pushes = Pushes(batch.photo_id)
        self._slots = None if batch.leftover is None else batch.leftover.slots()
        self._users: list[bytes] = []
        self._refused: list[bytes] = []
        self._left: list[bytes] = []
        self._gone = 0
        self.lives: set[str] = set()
        self._refusal: ResponseError | None = None

    def all_of_it(self) -> bool:
        """Pushes to everybody whose node answers; False if the follower list is another by now. Raises
        `FeedsUnavailable` while the author's own node does not answer."""
        batch = self._batch
        if batch.start == 0:
            self._push(self._chosen([str(batch.author_id).encode()]), guarded=True)
            self._users.clear()  # authors are not their followers
            self._refused.clear()
        for first in range(batch.start, batch.stop, READ_AT_ONCE):
            last = min(first + READ_AT_ONCE, batch.stop) - 1
            read = self._read(first, last)
            if read is None:
                return False
            plain, guarded, gone = read
            self._gone += gone
            self._push(self._chosen(plain), guarded=batch.is_guarded)
            self._push(self._chosen(guarded), guarded=True)
            failpoints.reach("served", batch.photo_id)
        return True

    def counts(self) -> tuple[int, int, int, str]:
        """How many followers were reached, have left, and have feeds that take no push; and the leftover."""
        taken_up = self._batch.leftover
        gone = taken_up.count - len(self._users) if taken_up else self._gone
        if not self._left:
            return len(self._users) - len(self._refused), gone, len(self._refused), ""
        slots_of = self._pushes.slots_of
        leftover = Leftover.of(slots_of(self._users), slots_of(self._left))
        left = leftover.slots()
        refused = sum(slot not in left for slot in slots_of(self._refused))
        return len(self._users) - leftover.count - refused, gone, refused, leftover.as_text()

    def problem(self) -> FeedError:
        """Why followers are left over."""
        if self._refusal is not None:
            try:
                with edge():
                    raise self._refusal
            except FeedError as error:
                return error
        return FeedsUnavailable(
            f"{len(self._left):,} feeds are on nodes that do not answer; they are tried again. "
            "Check the nodes that MYDJANGOAPP['REDIS_URL'] leads to."
        )

    def _chosen(self, users: list[bytes]) -> list[bytes]:
        """Those of them who are still to be pushed to."""
        slots = self._slots
        if slots is None:
            return users
        return [user for user, slot in zip(users, self._pushes.slots_of(users), strict=True) if slot in slots]

    def _read(self, first: int, last: int) -> Any:
        author_id, generation = self._batch.author_id, self._batch.generation
        names = [keys.followers(author_id), keys.marks(author_id), keys.state(author_id)]
        names.append(keys.built(author_id, self._batch.photo_id))
        with edge():
            pipeline = client().pipeline(transaction=True)
            pipeline.hget(names[2], "generation")
            pipeline.exists(names[1], names[3])
            pipeline.lrange(names[0], first, last)
            found, number_to_heed, users = pipeline.execute()
        if number_to_heed == 0 and (found or b"").decode() == generation:
            return users, [], 0  # as the script would say, which takes a copy of each id
        return scripts.read_batch(names, [generation, first, last])

    def _push(self, users: list[bytes], *, guarded: bool) -> None:
        void_at = 0.0 if guarded else self._batch.void_at
        outcome = self._pushes.push(users, void_at=void_at)
        refused, lives, left = outcome.refused, outcome.lives, [*outcome.unsent, *outcome.unsure]
        if left or outcome.elsewhere:
            if outcome.unsure and void_at:
                time.sleep(max(0.0, void_at - time.monotonic()) + MARGIN_SECONDS)  # the fence: see above
            # Where the nodes are by now, and from now on each push looks.
            again = self._pushes.push([*left, *outcome.elsewhere], void_at=0.0)
            last = self._pushes.push(again.elsewhere, void_at=0.0, one_by_one=True)
            refused += again.refused + last.refused
            left = [*again.unsent, *again.unsure, *last.unsent, *last.unsure, *last.elsewhere]
            lives |= again.lives | last.lives
            self._refusal = again.problem or last.problem or self._refusal
        self.lives |= lives
        self._users += users
        self._refused += refused
        self._left += left
