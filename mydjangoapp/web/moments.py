"""How long ago something was, in words."""

from __future__ import annotations

import time
from datetime import datetime

from django.template.defaultfilters import date
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

MINUTE, HOUR, DAY = 60, 3_600, 86_400


def age(moment: str) -> tuple[int, int]:
    """A moment's age as coarsely as `ago` says it: the words are others only if this is."""
    passed = max(0, int(time.time() - datetime.fromisoformat(moment).timestamp()))
    unit = MINUTE if passed < HOUR else HOUR if passed < DAY else DAY
    return unit, passed // unit


def ago(moment: datetime) -> SafeString:
    """The words, with the exact time on hover, as a `<time>`."""
    passed = timezone.now() - moment
    words = (
        _("just now")
        if passed.total_seconds() < MINUTE
        else _("%(time)s ago") % {"time": timesince(moment, depth=1)}
    )
    exact = date(timezone.localtime(moment), "DATETIME_FORMAT")
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, words)
