"""`{% load feed_pages %}`: what the app's own pages show of photos and users."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.template.defaultfilters import date
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from ..photos.rows import AuthorRow, PhotoRow
from ..web import links

register = template.Library()


@register.simple_tag(takes_context=True)
def page(context: Any, name: str, *arguments: Any) -> str:
    """The address of one of the app's pages: `{% page "photo" entry.photo.id %}`. `accounts:login` and its
    like are empty where the site has not included `urls_accounts`."""
    return links.page(context.request, name, *arguments)


@register.filter
def shown_name(person: AuthorRow) -> str:
    """What others call a user."""
    return person.name or person.username or _("User %(id)s") % {"id": person.id}


@register.filter
def ago(moment: str | datetime) -> SafeString:
    """How long ago, with the exact time on hover, as a `<time>`."""
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    passed = timezone.now() - at
    words = (
        _("just now") if passed.total_seconds() < 60 else _("%(time)s ago") % {"time": timesince(at, depth=1)}
    )
    exact = date(timezone.localtime(at), "DATETIME_FORMAT")
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exact, words)


@register.filter
def sources(photo: PhotoRow) -> list[tuple[str, str]]:
    """For each format of the smaller files its type and `srcset`, the better format first."""
    found: dict[str, list[str]] = {}
    for size in photo.sizes or ():
        found.setdefault(f"image/{size.format}", []).append(f"{size.url} {size.width}w")
    return [(kind, ", ".join(urls)) for kind, urls in found.items()]


@register.filter
def smallest(photo: PhotoRow) -> str:
    """The URL of the smallest file in the format that most browsers can show."""
    sizes = photo.sizes or ()
    return min(sizes, key=lambda size: (size.format != "webp", size.width)).url if sizes else ""
