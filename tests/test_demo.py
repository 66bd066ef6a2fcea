"""`make demo` to its print, with a Redis and with a cluster."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.servers import ROOT, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.mark.parametrize("options", [[], ["--cluster"]], ids=["one Redis", "a cluster"])
def test_the_demo_shows_a_photo_in_a_followers_feed(options: list[str], tmp_path: Path) -> None:
    port = str(free_port())
    said = subprocess.run(
        [sys.executable, "-m", "devtools.demo", "--exit", "--followers", "2000", "--port", port, *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "VAR_DIR": str(tmp_path / "var")},
        timeout=200,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert "2,000 of 2,000 followers served" in said.stdout
    [feed] = re.findall(r"The home feed of demo.*\n.*: (.*)", said.stdout)
    assert feed.startswith("A photo for everybody")
    assert re.search(r"Open http://127.0.0.1:\d+/ and log in as demo, password \w+", said.stdout)
