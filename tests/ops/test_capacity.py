"""`manage.py capacity`, and what docs/SCALING.md says that it says."""

from __future__ import annotations

import io
import json
import re
import shlex

import pytest
from django.core.management import CommandError, call_command

from devtools.servers import ROOT
from mydjangoapp.ops.capacity import BadSize, Costs, Site, plan

SCALING = (ROOT / "docs/SCALING.md").read_text()


def told(arguments: str) -> str:
    out = io.StringIO()
    call_command("capacity", *shlex.split(arguments), stdout=out)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip()


def examples() -> list[tuple[str, str]]:
    return re.findall(
        r"```\n\$ manage\.py capacity ([^\n]*)\n```\n\n(.*?)\n\n<!-- end -->", SCALING, re.DOTALL
    )


@pytest.mark.parametrize(("arguments", "shown"), examples())
def test_the_documentation_shows_what_the_command_says(arguments: str, shown: str) -> None:
    assert shown == told(arguments)


def test_there_are_examples_up_to_two_billion_users() -> None:
    assert [arguments.split()[1] for arguments, _ in examples()] == ["10000", "5e6", "2e9"]


def test_more_of_anything_never_needs_less() -> None:
    small = Site(users=20_000_000)
    base = plan(small)
    for more in (
        Site(users=40_000_000),
        Site(users=20_000_000, followers=400),
        Site(users=20_000_000, uploads_a_day=0.2),
        Site(users=20_000_000, pages_a_day=20),
        Site(users=20_000_000, peak=6),
    ):
        found = plan(more)
        assert found.nodes >= base.nodes and found.workers >= base.workers and found.web >= base.web
        assert (found.nodes, found.workers, found.web) != (base.nodes, base.workers, base.web)
    assert plan(Site(users=20_000_000, largest=2_000_000)).seconds_of_largest > base.seconds_of_largest


def test_figures_by_hand() -> None:
    """A push a second costs what it costs."""
    costs = Costs(redis_us_per_push=5, redis_us_per_upload=1e-9, redis_us_per_page=1e-9)
    site = Site(users=86_400, followers=100, uploads_a_day=1_000, peak=1, largest=10_000)
    found = plan(site, costs)
    assert found.pushes == pytest.approx(100_000)
    assert found.nodes_by_time == 1, "half of one processor"
    assert plan(Site(**{**vars(site), "followers": 150}), costs).nodes_by_time == 2
    assert found.seconds_of_largest == pytest.approx(10_000 * (5 + costs.worker_us_per_push) / 1e6)


def test_as_json() -> None:
    found = json.loads(told("--users 1e6 --largest 1000 --json"))
    assert found["nodes"] == 1 and found["site"]["users"] == 1_000_000 and found["first"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--users 0", "users: 0 is not above 0"),
        ("--users 1e9 --active 1.5", "active: 1.5 is more than all"),
        ("--users 100", "largest: 1,000,000 followers are not fewer than 100 users"),
        ("--users 1e9 --peak nan", "peak: nan is not above 0"),
        ("--users 1e9 --redis-us-per-push 0", "redis_us_per_push: 0.0 is not above 0"),
        ("--users inf", "argument --users: invalid whole_number value: 'inf'"),
        ("--users many", "argument --users: invalid whole_number value: 'many'"),
    ],
)
def test_sizes_that_no_site_has(arguments: str, problem: str) -> None:
    with pytest.raises(CommandError, match=re.escape(problem)):
        told(arguments)


def test_bad_sizes_are_refused_in_python_too() -> None:
    with pytest.raises(BadSize, match="followers: -1"):
        Site(users=10, followers=-1, largest=2)
