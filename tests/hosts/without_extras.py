"""A site with the core alone: what the extras bring cannot be imported. Says as JSON what it read, and
which modules of the app could not be imported."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

EXTRAS = {"rest_framework", "drf_spectacular", "PIL", "prometheus_client", "health_check", "urllib3"}
# The extras' own modules, reached only by URLs and settings that a site includes; and Django's admin's.
OF_EXTRAS = (
    "mydjangoapp.admin",
    "mydjangoapp.api",
    "mydjangoapp.urls",
    "mydjangoapp.web",
    "mydjangoapp.migrations",
    "mydjangoapp.events.nsq",
)


class NotInstalled(MetaPathFinder):
    """Finds none of the extras."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name.split(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main() -> None:
    sys.meta_path.insert(0, NotInstalled())
    from django.conf import settings

    urls = ModuleType("urls_of_this_site")
    sys.modules[urls.__name__] = urls
    settings.configure(
        SECRET_KEY="-",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "mydjangoapp"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        MYDJANGOAPP={"REDIS_URL": "off"},
        ROOT_URLCONF=urls.__name__,
    )
    import django
    from django.core.management import call_command

    django.setup()
    urls.urlpatterns = []  # type: ignore[attr-defined]  # made here
    call_command("check", verbosity=0)
    call_command("migrate", verbosity=0)
    print(json.dumps({"read": _lives(), "not imported": _not_imported()}))


def _lives() -> list[str]:
    from django.contrib.auth.models import User

    from mydjangoapp import feeds, graph, uploads
    from mydjangoapp.testing import feeds_from_sql

    reader, author = (User.objects.create(username=name) for name in ("reader", "author"))
    with feeds_from_sql():
        graph.follow(reader, author)
        uploads.publish(author, description="Sunrise", photo_url="https://example.com/1.jpg")
        return [entry.photo.description for entry in feeds.page(reader)]


def _not_imported() -> list[str]:
    import mydjangoapp

    missing = []
    for module in pkgutil.walk_packages(mydjangoapp.__path__, "mydjangoapp."):
        if not module.name.startswith(OF_EXTRAS):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError:
                missing.append(module.name)
    return missing


if __name__ == "__main__":
    main()
