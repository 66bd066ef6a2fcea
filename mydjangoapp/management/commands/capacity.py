"""`manage.py capacity --users 1000000`"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich import box
from rich.console import Console
from rich.table import Table

from mydjangoapp.ops import capacity
from mydjangoapp.ops.capacity import BadSize, Costs, Plan, Site

SITE = {
    "users": "people who have an account",
    "followers": "of the average author",
    "uploads-a-day": "of the average user",
    "pages-a-day": "of a feed, by the average user",
    "largest": "followers of the most followed author",
    "active": "share of users whose feed is in Redis",
    "peak": "the busiest second, over the average",
}


class Command(BaseCommand):
    help = "What a site of this size needs, by costs that were measured (docs/SCALING.md). Asks no server."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        kinds = {one.name: one for one in fields(Site)}
        for name, what in SITE.items():
            one = kinds[name.replace("-", "_")]
            kind = whole_number if one.type == "int" else float
            if name == "users":
                parser.add_argument(f"--{name}", type=kind, required=True, help=what)
            else:
                parser.add_argument(
                    f"--{name}", type=kind, default=one.default, help=f"{what} ({one.default})"
                )
        for cost in fields(Costs):
            name = cost.name.replace("_", "-")
            parser.add_argument(f"--{name}", type=float, default=cost.default, help=f"{cost.default:g}")
        parser.add_argument("--json", action="store_true", help="the plan as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        def chosen(kind: Any) -> Any:
            return kind(**{one.name: options[one.name] for one in fields(kind)})

        try:
            plan = capacity.plan(chosen(Site), chosen(Costs))
        except BadSize as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps({**asdict(plan), "nodes": plan.nodes, "first": plan.first.name}))
            return
        console = Console(file=cast(IO[str], self.stdout), width=130)
        console.print(_needs(plan))
        console.print(_limits(plan))


def whole_number(text: str) -> int:
    """Also 2e9."""
    number = float(text)
    if not number.is_integer():
        raise ValueError(text)  # inf and nan are none either
    return int(number)


def _needs(plan: Plan) -> Table:
    table = Table(
        "at the peak", "", box=box.MARKDOWN, title=f"{plan.site.users:,} users", title_justify="left"
    )
    gigabyte = 2.0**30
    for name, value in (
        ("uploads a second", f"{plan.uploads:,.1f}"),
        ("pushes a second", f"{plan.pushes:,.0f}"),
        ("pages a second", f"{plan.pages:,.0f}"),
        (
            f"feeds' Redis: primaries of {plan.costs.node_gigabytes:g} GB, each with a replica",
            f"{plan.nodes:,} (by time {plan.nodes_by_time:,}, by memory {plan.nodes_by_memory:,})",
        ),
        (
            "memory of the feeds and follower lists, with what a rewrite needs",
            f"{plan.memory / gigabyte:,.1f} GB",
        ),
        ("worker processes", f"{plan.workers:,}"),
        ("web processes", f"{plan.web:,}"),
        ("PostgreSQL: follows, and photos of a year", f"{plan.sql / gigabyte:,.1f} GB"),
        (f"a photo to {plan.site.largest:,} followers", f"{plan.seconds_of_largest:,.1f} s"),
        ("lag of a small author", f"{plan.lag * 1000:,.0f} ms"),
    ):
        table.add_row(name, value)
    return table


def _limits(plan: Plan) -> Table:
    table = Table(
        "what more machines do not widen",
        "used",
        "then",
        box=box.MARKDOWN,
        title="what breaks first",
        title_justify="left",
    )
    for limit in sorted(plan.limits, key=lambda limit: -limit.used):
        table.add_row(
            limit.name, f"{limit.used:.2%}" if limit.used < 10 else f"{limit.used:,.0f} times", limit.remedy
        )
    return table
