"""`{% load feed_pages %}`: what the app's own pages show of photos and users."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..homefeed.reader import Entry
from ..photos.rows import AuthorRow, PhotoRow
from ..web import fragments, links, moments

register = template.Library()


@register.simple_tag(takes_context=True)
def page(context: Any, name: str, *arguments: Any) -> str:
    """The address of one of the app's pages: `{% page "photo" entry.photo.id %}`. `accounts:login` and its
    like are empty where the site has not included `urls_accounts`."""
    pages = context.get("pages") or links.pages_beside(context.request)
    return str(pages.url(name, *arguments))


@register.simple_tag(takes_context=True)
def entry(context: Any, shown: Entry, eager: bool = False) -> SafeString:
    """A photo in a feed: `mydjangoapp/_entry.html`, kept in the process."""
    pages = context.get("pages")
    if pages is None:
        pages = context["pages"] = links.pages_beside(context.request)
    return fragments.entry(shown, pages, eager=eager)


@register.filter
def shown_name(person: AuthorRow) -> str:
    """What others call a user."""
    return person.name or person.username or _("User %(id)s") % {"id": person.id}


@register.filter
def ago(moment: str | datetime) -> SafeString:
    """How long ago, with the exact time on hover, as a `<time>`."""
    return moments.ago(datetime.fromisoformat(moment) if isinstance(moment, str) else moment)


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
