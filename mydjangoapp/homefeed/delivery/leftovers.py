"""What is left of a batch on a cluster while nodes do not answer: the followers in some slots.

The chain goes on without them, so that a node that is away keeps the photo from its own feeds only. Told by
slots, a leftover is short however many followers it has, and whoever takes it up reads the follower list
again, with the marks of those who have left meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self


@dataclass(frozen=True)
class Leftover:
    """`count`: followers of the batch in these slots. `ranges`: slots, as `0-5460,9001-9001`."""

    count: int
    ranges: str

    @classmethod
    def of(cls, slots: Sequence[int], unsure: Iterable[int]) -> Self:
        """The leftover of a batch whose followers are in `slots`, of which those in `unsure` may be without
        the photo. Its ranges hold all of these, and no slot of anybody else."""
        left = frozenset(unsure)
        ranges = []
        for is_left, some in groupby(sorted({*slots, *left}), left.__contains__):
            if is_left:
                first, *others = some
                ranges.append(f"{first}-{others[-1] if others else first}")
        return cls(sum(slot in left for slot in slots), ",".join(ranges))

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Of what `as_text` wrote; None for an empty text."""
        if not text:
            return None
        count, _, ranges = text.partition(":")
        return cls(int(count), ranges)

    def as_text(self) -> str:
        """For the scripts, which look at the count alone."""
        return f"{self.count}:{self.ranges}"

    def slots(self) -> frozenset[int]:
        """The slots one by one, at most all there are."""
        bounds = (part.split("-") for part in self.ranges.split(","))
        return frozenset(slot for first, last in bounds for slot in range(int(first), int(last) + 1))
