"""URLs of stored files, the same for some minutes.

A storage that signs URLs gives another one at each call, so that a browser would load every picture again
with every page; and signing costs more than all else that a page does for a photo.
"""

from __future__ import annotations

from functools import lru_cache
from time import time as now
from typing import Any

from django.core.signals import setting_changed

from ..conf import conf
from ..models import get_photo_model

REMEMBERED = 10_000  # URLs in each process, some megabytes where they are signed


def url_of(name: str) -> str:
    """The URL of a file of this name in the storage of the photo model's `FILE_FIELD`."""
    return _url(name, span())


def span() -> int:
    """A number that is another one when URLs are to be made anew."""
    return int(now() / conf.FILE_URL_SECONDS)


@lru_cache(maxsize=REMEMBERED)
def _url(name: str, span: int) -> str:
    model = get_photo_model()
    return str(model._meta.get_field(model.FILE_FIELD).storage.url(name))


def _forget(setting: str, **_: Any) -> None:
    if setting in ("MEDIA_URL", "STORAGES", "FORCE_SCRIPT_NAME"):
        _url.cache_clear()


setting_changed.connect(_forget, dispatch_uid="mydjangoapp.forget_file_urls")  # in tests of a site
