"""Photos of a feed as HTML, kept in the process: templates cost five times what reading the feed does.

What is kept depends on nothing but what is shown: not on the request, and on its reader only by whether they
like the photo. So a photo that many read is made once, and what has changed is another key.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed
from django.template.loader import get_template
from django.urls import get_script_prefix
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from ..homefeed.reader import Entry
from ..photos import file_urls
from .links import Pages
from .moments import age

KEPT = 2_000  # about 3 kB each


def entry(shown: Entry, pages: Pages, *, eager: bool = False) -> SafeString:
    """A photo in a feed, by the template `mydjangoapp/_entry.html`, which knows `entry`, `pages` and `eager`:
    whether it is to be loaded at once."""
    fields = shown.author.fields
    return _entry(
        shown._replace(author=shown.author._replace(fields=None)),
        None if fields is None else tuple(sorted((name, str(value)) for name, value in fields.items())),
        pages,
        eager,
        age(shown.photo.created_at),
        (get_language(), get_current_timezone_name(), get_script_prefix(), file_urls.span()),
    )


@lru_cache(maxsize=KEPT)
def _entry(shown: Entry, fields: Any, pages: Pages, eager: bool, *_: Any) -> SafeString:
    context = {"entry": shown, "author_fields": dict(fields or ()), "pages": pages, "eager": eager}
    return mark_safe(get_template("mydjangoapp/_entry.html").render(context))  # noqa: S308  # a template's


def _forget(**_: Any) -> None:
    _entry.cache_clear()


setting_changed.connect(_forget, dispatch_uid="mydjangoapp.forget_fragments")  # in tests of a site
