"""`{% load homefeed %}`"""

from __future__ import annotations

from typing import Any

from django import template

from .. import feeds

register = template.Library()


@register.simple_tag
def home_feed(user: Any, limit: int = 20, before: str = "") -> feeds.Page:
    """A page of a user's home feed, as `feeds.page`; from the top where `before` is not a place in it::

    {% home_feed request.user limit=20 before=request.GET.before as page %}
    {% for entry in page %}{{ entry.photo.description }} by {{ entry.author.name }}{% endfor %}
    {% if page.before %}<a href="?before={{ page.before }}">Older</a>{% endif %}
    """
    try:
        return feeds.page(user, limit=limit, before=before)
    except ValueError:
        return feeds.page(user, limit=limit)
