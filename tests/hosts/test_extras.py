"""A small site stays small."""

from __future__ import annotations

import json
import subprocess
import sys

from devtools.servers import ROOT


def test_feeds_need_none_of_the_extras() -> None:
    command = [sys.executable, "-m", "tests.hosts.without_extras"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout.splitlines()[-1])
    assert said["read"] == ["Sunrise"]
    assert said["not imported"] == [
        "mydjangoapp.ops.health",
        "mydjangoapp.ops.metrics",
        "mydjangoapp.photos.images",
        "mydjangoapp.photos.preview",
        "mydjangoapp.photos.sizes",
    ]
