"""The worker in docs/EVENTS.md, as it stands there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from devtools.servers import ROOT
from mydjangoapp import uploads


@pytest.fixture
def archive(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app with the worker of the documentation."""
    code = (ROOT / "docs/EVENTS.md").read_text().split("```python\n")[1].split("```")[0]
    file = tmp_path / code.splitlines()[0].removeprefix("# ")
    file.parent.mkdir(parents=True)
    file.write_text(code)
    for package in (file.parent, file.parent.parent):
        (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "archive"]


@pytest.mark.django_db(transaction=True)
def test_the_worker_of_the_documentation_archives_photos(
    redis: Any, archive: None, author: Any, tmp_path: Path
) -> None:
    to = tmp_path / "files"
    to.mkdir()
    words = ("run_worker", "--until-idle", "0.3", "photos", "archive", "--to", str(to), "--from-beginning")
    photos = [
        uploads.publish(author, description=f"no. {n}", photo_url="https://example.com/p.jpg")
        for n in range(3)
    ]
    call_command(*words)
    kept = {file.name: json.loads(file.read_text()) for file in to.iterdir()}
    assert kept.keys() == {f"{photo.pk}.json" for photo in photos}
    assert kept[f"{photos[0].pk}.json"]["description"] == "no. 0"
    gone = photos[0].pk
    photos[0].delete()
    call_command(*words)
    assert not (to / f"{gone}.json").exists()
    assert len(list(to.iterdir())) == 2
