"""What long commands show: a bar to people, nothing on the side to others, and JSON to machines."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from mydjangoapp.circles import members
from mydjangoapp.homefeed import feeds_redis, keys
from tests.feeds import logged_in, publish

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")


class Terminal(io.StringIO):
    """As people have it."""

    def isatty(self) -> bool:
        return True


def run(*words: str, side: Any = None) -> tuple[Any, str]:
    """What a command says in JSON, and what on the side."""
    out, side = io.StringIO(), side or io.StringIO()
    call_command(*words, "--json", stdout=out, stderr=side)
    return json.loads(out.getvalue()), side.getvalue()


@pytest.fixture
def follows_csv(make_users: Any, tmp_path: Any) -> str:
    one, other = make_users(2)
    file = tmp_path / "follows.csv"
    file.write_text(f"{one.pk},{other.pk}\n")
    return str(file)


def test_reports_in_json(pair: tuple[Any, Any], follows_csv: str) -> None:
    me, author = pair
    publish(author, 3)
    logged_in(me).get("/feed/")
    members.create(me, name="Birds")
    said = {
        words[0]: run(*words)
        for words in (
            ["verify_feeds"],
            ["rebuild_followers", "--user", str(author.pk)],
            ["rebuild_homefeeds"],
            ["rebuild_circles"],
            ["import_follows", follows_csv],
            ["make_sizes"],
            ["migrate_keys"],
            ["prune"],
            ["rescue_fanouts"],
            ["fanouts"],
        )
    }
    assert all(side == "" for _, side in said.values()), "no terminal, no bar"
    found = {name: report for name, (report, _) in said.items()}
    assert found["verify_feeds"] == {"users": 4, "different": 0, "left": 0, "differences": []}
    assert found["rebuild_followers"] == {"rebuilt": 1, "left": 0}
    assert found["rebuild_homefeeds"] == {"built": 1, "left": 3}
    assert found["rebuild_circles"] == {
        "circles": 1,
        "circle_photos": 0,
        "authors": 4,
        "author_photos": 3,
    }
    assert (found["import_follows"]["made"], found["import_follows"]["lists"]) == (1, 1)
    assert found["make_sizes"] == {"photos": 0}
    assert found["migrate_keys"] == {"moved": 0, "dropped": 0, "lists": 0}
    assert found["prune"].keys() == {"upload_keys", "fanouts", "receipts", "dead_letters"}
    assert found["rescue_fanouts"].keys() == {"rescued", "changes", "events", "voided", "problems"}
    assert [one["state"] for one in found["fanouts"]["open"]] == ["waiting"] * 3


def test_a_command_that_fails_reports_all_the_same(pair: tuple[Any, Any]) -> None:
    me, author = pair
    publish(author)
    logged_in(me).get("/feed/")
    redis: Any = feeds_redis.client()
    redis.rpush(keys.followers(author.pk), "999999")
    out = io.StringIO()
    with pytest.raises(CommandError, match="--repair"):
        call_command("verify_feeds", "--json", stdout=out, stderr=io.StringIO())
    report = json.loads(out.getvalue())
    assert report["left"] == 1
    assert "999999" in report["differences"][0]


@pytest.mark.parametrize("command", ["verify_feeds", "rebuild_homefeeds", "migrate_keys"])
def test_a_terminal_shows_a_bar(pair: tuple[Any, Any], command: str) -> None:
    terminal = Terminal()
    out = io.StringIO()
    call_command(command, stdout=out, stderr=terminal)
    assert "━" in terminal.getvalue()
    assert "━" not in out.getvalue()


def test_begins_again_says_which(pair: tuple[Any, Any]) -> None:
    from mydjangoapp.models import FanOut

    [photo] = publish(pair[1])
    FanOut.objects.update(state="failed")
    assert run("fanouts", "--retry")[0] == {"begun": [photo]}
