"""One upload under one fault, and what the checker found: the figures of docs/RELIABILITY.md."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devtools.servers import Server, wait_until
from mydjangoapp import uploads
from mydjangoapp.models import FanOut, Photo
from tests.checker import ALL_ONCE, Outcome, counters, cursor, fill, has_ended, outcome, runs, wait_for_end
from tests.conftest import Workers

LEASE = 3.0  # seconds, of the tests' site
RECOVERY = LEASE + 30  # seconds in which everything has to be well again
TASK = "mydjangoapp.tasks.insert_into_homefeed"

SLOW = {
    "MYDJANGOAPP_BATCH_SIZE": "1000",
    "MYDJANGOAPP_SLICE_SIZE": "20",
    "MYDJANGOAPP_SLICES_IN_FLIGHT": "1",
}
"""Makes a chain of 60,000 last for a second or two, with sixty seams to break it at."""


@dataclass(frozen=True)
class Finding:
    """A line of the table. `recovery`: seconds from the end of the fault to `done`."""

    row: int
    fault: str
    promise: str
    test: str
    lost: int
    doubled: int
    unexpected: int
    state: str
    runs: int
    recovery: float
    way: str = "engine"


class Findings(list[Finding]):
    """What a run has found, kept for the table."""

    def save(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps([asdict(finding) for finding in self], indent=1))


@dataclass
class Trial:
    """An author with followers, a photo, a fault, and the judgement."""

    author: Any
    workers: Workers
    findings: Findings
    row: tuple[int, str, str]
    test: str
    present: Sequence[Any] = ()
    photos: tuple[int, ...] = ()
    healed_at: float | None = None

    def follow(self, number: int = 60_000) -> Sequence[Any]:
        """Gives the author so many followers."""
        self.present = fill(self.author.pk, number)
        return self.present

    def get_under_way(self, **environ: str) -> Server:
        """Followers, a slow worker, an upload; returns the worker in mid-chain."""
        self.follow()
        worker = self.workers(**{**SLOW, **environ})
        self.upload()
        self.wait_until_on_its_way()
        return worker

    def upload(self, number: int = 1) -> int:
        """Publishes photos; returns the last."""
        for _ in range(number):
            photo = uploads.publish(self.author, description="a photo", photo_url="https://example.com/p.jpg")
            self.photos += (photo.pk,)
        return self.photos[-1]

    @property
    def photo(self) -> int:
        return self.photos[-1]

    def wait_until_on_its_way(self, share: float = 0.1) -> None:
        """Returns in the middle: some are served, most are not."""
        wait_until(
            lambda: cursor(self.photo) >= len(self.present) * share,
            seconds=30,
            what="the chain is on its way",
        )
        assert not has_ended(self.photo), "it was too quick"

    def healed(self) -> None:
        """The fault is over: from here on time is counted."""
        self.healed_at = time.monotonic()

    def judge(self, *, state: str = "done", absent: Iterable[Any] = (), seconds: float = RECOVERY) -> None:
        """Waits until every photo's fan-out has ended, and lets the checker look at every follower."""
        began = self.healed_at or time.monotonic()
        try:
            states = {wait_for_end(photo, seconds=seconds) for photo in self.photos}
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.explanation()}") from error
        recovery = time.monotonic() - began
        found = self.look(absent)
        self.note(found, "/".join(sorted(states)), recovery)
        assert found == ALL_ONCE
        assert states == {state}
        assert recovery < seconds
        assert not FanOut.objects.filter(state__in=FanOut.OPEN).exists()

    def explanation(self) -> str:
        """All that may tell why a fan-out does not end."""
        rows = [str(row) for row in FanOut.objects.filter(photo_id__in=self.photos).values()]
        states = [f"{photo}: {counters(photo)}" for photo in self.photos]
        return "\n".join([*rows, *states, *(worker.log.read_text()[-6000:] for worker in self.workers)])

    def look(self, absent: Iterable[Any] = ()) -> Outcome:
        """What the followers of all photos have. Of one that was deleted nobody may have any."""
        absent = list(absent)
        lost = doubled = unexpected = 0
        there = set(Photo.objects.filter(id__in=self.photos).values_list("id", flat=True))
        for photo in self.photos:
            should = self.present if photo in there else ()
            found = outcome(photo, should, absent if photo in there else [*self.present, *absent])
            lost += found.lost
            doubled += found.doubled
            unexpected += found.unexpected
        return Outcome(lost, doubled, unexpected)

    def note(
        self, found: Outcome, state: str, recovery: float, way: str = "engine", task: str = TASK
    ) -> None:
        """Enters a line of the table."""
        row, fault, promise = self.row
        self.findings.append(
            Finding(
                row=row,
                fault=fault,
                promise=promise,
                test=self.test,
                **asdict(found),
                state=state,
                runs=runs(task, *self.workers),
                recovery=round(recovery, 1),
                way=way,
            )
        )
