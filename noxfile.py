"""The tests on other Pythons and Djangos: `make matrix`. A Python that is missing is skipped, and named.

nox                 every session
nox -s lowest       the lowest version of every dependency
nox -s "django-3.13(6.1)"
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path

import nox

# Pythons that pyenv has installed beside this one are not on PATH.
os.environ["PATH"] += "".join(f":{path}" for path in sorted(Path(sys.base_prefix).parent.glob("3.*/bin")))

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True

SITE = ("tests/test_site.py", "tests/test_feeds.py", "tests/test_testing.py", "tests/api", "tests/graph")
FEEDS = ("tests/fanout", "tests/photos", "tests/circles", "tests/connections", "tests/hosts", "tests/ops")


@nox.session(python=["3.11", "3.12", "3.13"], name="django")
@nox.parametrize("django", ["5.2", "6.0", "6.1"], ids=["5.2", "6.0", "6.1"])
def on_django(session: nox.Session, django: str) -> None:
    """The newest release of each supported Django."""
    if django >= "6" and session.python == "3.11":
        session.skip(f"Django {django} needs Python 3.12")
    pins = Path(session.create_tmp()) / "requirements.txt"
    site = Path("requirements.txt").read_text()
    pins.write_text(re.sub(r"^Django==.*$", f"Django=={django}.*", site, flags=re.MULTILINE))
    session.install("-r", str(pins), "-e", ".[test]", silent=True)
    _test(session)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """The lowest versions that pyproject.toml allows."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["api"], *extras["images"], *extras["metrics"], *extras["nsq"]]
    pins = [re.sub(r">=([^,]+).*", r"==\1", one) for one in asked]
    session.install("-r", "requirements.txt", "-e", ".[test]", silent=True)
    session.install(*pins, silent=True)
    _test(session)


def _test(session: nox.Session) -> None:
    version = "import django, sys; print('Django', django.__version__, 'on Python', sys.version)"
    session.run("python", "-c", version)
    paths = session.posargs or [*SITE, *FEEDS]
    session.run("python", "-m", "pytest", "-q", *paths)
