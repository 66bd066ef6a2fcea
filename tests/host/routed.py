"""The site of `proj` with all its rows in a database that is not `default`; `REPLICA` names a file to read
from."""

import os
from typing import Any

from proj.settings import *  # noqa: F403
from proj.settings import DATABASES, VAR

DATABASES["feeds"] = DATABASES["default"]
DATABASES["default"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(VAR / "other.sqlite3")}
if replica := os.environ.get("REPLICA"):
    DATABASES["replica"] = {**DATABASES["feeds"], "NAME": replica}
DATABASE_ROUTERS = ["tests.host.routed.Router"]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"


class Router:
    """Writes to `feeds`, reads from the replica if there is one."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica" if "replica" in DATABASES else "feeds"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "feeds"

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "feeds"
