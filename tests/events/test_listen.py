"""`manage.py listen`: lines in a file, surely."""

from __future__ import annotations

import fcntl
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from devtools.servers import wait_until
from mydjangoapp.events import publish_many
from tests.events.conftest import Run, channel_of_numbers, lines, said


def test_listen_writes_a_line_a_message(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    sent = publish_many("numbers", "number", ({"n": n, "ü": "ß\n"} for n in range(3)))
    listening = run("listen", "numbers", "archive", "--to", str(file), "--max", "3", "--from-beginning")
    wait_until(lambda: not listening.running, seconds=30, what="it has written three")
    found = [json.loads(line) for line in lines(file)]
    assert [one["id"] for one in found] == sent
    assert found[0]["body"] == {"n": 0, "ü": "ß\n"}
    assert found[0].keys() == {"id", "topic", "action", "body", "attempts", "published_at"}


@pytest.mark.django_db(transaction=True)
def test_listen_writes_whatever_text_there_is(redis: Any, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    said("subscribe", "numbers", "archive")
    bodies = [{"n": "half a pair \ud800"}, {"n": "\u2028 ü"}]
    publish_many("numbers", "number", bodies)
    said("listen", "numbers", "archive", "--to", str(file), "--max", "2")
    assert [json.loads(line)["body"] for line in lines(file)] == bodies


@pytest.mark.timeout(240)
def test_listen_may_be_killed_at_any_byte(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    said("subscribe", "numbers", "archive")
    sent = publish_many("numbers", "number", ({"n": n, "text": "x" * 500} for n in range(20_000)))
    environ = {"MYDJANGOAPP_EVENTS_TIMEOUT": "1"}
    words = ("listen", "numbers", "archive", "--to", str(file))
    for cut in (0, 1, 7, 300):
        size = file.stat().st_size if file.exists() else 0
        writing = run(*words, **environ)
        wait_until(partial(_is_larger, file, size), seconds=30, what="it writes")
        writing.kill()
        with file.open("ab") as torn:  # a write of which only so many bytes came to the disk
            torn.write(b'{"id": "torn", "body": {"text": "'[:cut] + b"y" * max(0, cut - 33))
    run(*words, **environ)
    wait_until(lambda: len(lines(file)) >= 20_000, seconds=60, what="all are written")
    wait_until(lambda: channel_of_numbers()["lag"] == 0, seconds=30, what="all are acknowledged")
    found = [json.loads(line)["id"] for line in lines(file)]
    assert sorted(found) == sorted(sent), "each once, and every line whole"


def _is_larger(file: Path, size: int) -> bool:
    return file.exists() and file.stat().st_size > size


def test_listen_refuses_a_file_that_another_writes(run: Run, tmp_path: Path, redis: Any) -> None:
    file = tmp_path / "lines"
    run("listen", "numbers", "archive", "--to", str(file))
    wait_until(lambda: file.exists() and _is_locked(file), seconds=30, what="it listens")
    with pytest.raises(CommandError, match="another process writes to"):
        call_command("listen", "numbers", "archive", "--to", str(file))
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("listen", "numbers", "archive", "--to", str(tmp_path / "not" / "there"))


def _is_locked(file: Path) -> bool:
    with file.open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
