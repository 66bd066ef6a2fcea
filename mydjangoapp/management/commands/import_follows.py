"""`manage.py import_follows FILE.csv` and `manage.py import_follows --from-model shop.Subscription:…`"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from more_itertools import batched
from rich.progress import Progress

from mydjangoapp import graph
from mydjangoapp.connections import database
from mydjangoapp.exceptions import DATABASE_AWAY, FeedError
from mydjangoapp.graph.import_rows import ROWS_PER_TRANSACTION, SIDE_BY_SIDE
from mydjangoapp.homefeed import follower_lists
from mydjangoapp.models import Follow

from ._report import ReportingCommand

AUTHORS_PER_PAGE = 1_000


class Command(ReportingCommand):
    help = (
        "Brings a graph along: follows with their dates, in their order, without events. May be broken off "
        "and run again: what is there is left out. Then it builds the follower lists that are missing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "file", nargs="?", help="CSV: follower, followee and, if you have it, date; the oldest first"
        )
        parser.add_argument(
            "--from-model",
            metavar="APP.MODEL:FOLLOWER,FOLLOWEE[,CREATED]",
            help="a table of this site and its fields: shop.Subscription:subscriber,channel,created",
        )
        parser.add_argument("--by", default="pk", help="field that names users in the file (default: pk)")
        parser.add_argument(
            "--announce", action="store_true", help="publish user.followed of each new follow"
        )
        parser.add_argument(
            "--one-by-one",
            action="store_true",
            help="one transaction at a time, on the command's own connection: for a tenant's schema, a role",
        )
        parser.add_argument("--no-lists", action="store_true", help="leave the lists to the next uploads")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["file"]) == bool(options["from_model"]):
            raise CommandError("Give either a CSV file or --from-model.")
        by = options["by"]
        if by != "pk" and not _has_unique_field(get_user_model(), by):
            raise CommandError(f"--by: {get_user_model()._meta.label} has no unique field {by!r}.")
        began = time.monotonic()
        with ExitStack() as stack:
            bars = stack.enter_context(self.bars())
            try:
                rows, progress = _rows(options, bars, stack)
                counts = graph.import_follows(
                    rows,
                    by=by,
                    announce=options["announce"],
                    side_by_side=1 if options["one_by_one"] else SIDE_BY_SIDE,
                    progress=progress,
                )
            except (FeedError, *DATABASE_AWAY) as error:
                raise CommandError(f"{error} What was imported stays; run it again.") from error
            made, seconds = counts["made"], time.monotonic() - began
            left_out = ", ".join(
                f"{number:,} {why}" for why, number in counts.items() if why != "made" and number
            )
            self.report(
                f"{made:,} follows made in {seconds:.1f} s; left out: {left_out or 'none'}",
                made=made,
                seconds=round(seconds, 1),
                left_out={why: number for why, number in counts.items() if why != "made"},
            )
            if not options["no_lists"]:
                self._build_lists(bars)

    def _build_lists(self, bars: Progress) -> None:
        follows = (
            database.primary(Follow).order_by("followee_id").values_list("followee_id", flat=True).distinct()
        )
        bar = bars.add_task("follower lists", total=follows.count())
        built, page = 0, list(follows[:AUTHORS_PER_PAGE])
        try:
            while page:
                built += follower_lists.build_missing(page)
                bars.advance(bar, len(page))
                page = list(follows.filter(followee_id__gt=page[-1])[:AUTHORS_PER_PAGE])
        except FeedError as error:
            raise CommandError(f"{error} The follows are there; run it again for the lists.") from error
        self.report(f"{built:,} follower lists built", lists=built)


def _rows(
    options: dict[str, Any], bars: Progress, stack: ExitStack
) -> tuple[Iterable[graph.Row], Callable[[int], None]]:
    if options["from_model"]:
        rows, number = _of_model(options["from_model"])
        bar = bars.add_task("follows", total=number)
        return rows, lambda done: bars.advance(bar, done)
    path = Path(options["file"])
    try:
        opened = bars.open(path, "r", newline="", encoding="utf-8-sig", description="follows")
        file = stack.enter_context(opened)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.") from error
    return _ahead(_of_csv(file, path, options["by"])), lambda done: None


def _ahead(rows: Iterator[graph.Row]) -> Iterator[graph.Row]:
    """The same rows; the next transaction's are read while the database is at work on this one's."""
    batches = batched(rows, ROWS_PER_TRANSACTION)
    with ThreadPoolExecutor(1, thread_name_prefix="csv") as reader:
        coming = reader.submit(next, batches, ())
        while batch := coming.result():
            coming = reader.submit(next, batches, ())
            yield from batch


def _of_csv(file: Iterable[str], path: Path, by: str) -> Iterator[graph.Row]:
    users: Any = get_user_model()._meta
    key, zone = users.pk if by == "pk" else users.get_field(by), timezone.get_current_timezone()
    for number, cells in enumerate(csv.reader(file), 1):
        if not cells or (number == 1 and cells[0].strip().lower() in ("follower", "follower_id")):
            continue
        if len(cells) not in (2, 3):
            raise CommandError(
                f"{path}, line {number}: {len(cells)} columns instead of follower, followee, date."
            )
        try:
            names = [key.to_python(cell.strip()) for cell in cells[:2]]
        except Exception as error:  # each kind of field raises its own
            raise CommandError(f"{path}, line {number}: {cells[:2]} do not name two users.") from error
        try:
            created_at = _moment(cells[2].strip(), zone) if len(cells) == 3 and cells[2].strip() else None
        except ValueError as error:
            raise CommandError(
                f"{path}, line {number}: {cells[2]!r} is not a date (YYYY-MM-DD HH:MM)."
            ) from error
        yield graph.Row(names[0], names[1], created_at)


def _moment(text: str, zone: tzinfo) -> datetime:
    if moment := parse_datetime(text):
        return moment if moment.tzinfo else moment.replace(tzinfo=zone)
    if day := parse_date(text):
        return datetime(day.year, day.month, day.day, tzinfo=zone)
    raise ValueError


def _of_model(where: str) -> tuple[Iterator[graph.Row], int]:
    label, _, names = where.partition(":")
    fields = names.split(",")
    try:
        model = apps.get_model(label)
        columns = [model._meta.get_field(name).attname for name in fields]
    except (LookupError, ValueError, FieldDoesNotExist, AttributeError) as error:
        raise CommandError(f"--from-model {where}: {error}") from error
    if len(columns) not in (2, 3):
        raise CommandError(f"--from-model {where}: give the fields follower,followee[,created].")
    rows = model._default_manager.order_by(*columns[2:], "pk")
    values = rows.values_list(*columns).iterator(ROWS_PER_TRANSACTION)
    return (graph.Row(*row) for row in values), rows.count()


def _has_unique_field(model: Any, name: str) -> bool:
    return any(field.name == name and field.unique for field in model._meta.concrete_fields)
