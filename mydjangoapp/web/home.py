"""`/`: the home feed."""

from __future__ import annotations

from typing import Any

from .. import feeds
from ..homefeed import reader
from .page import PHOTOS, Page


class HomeView(Page):
    """The reader's home feed, from the top or from a place on."""

    template_name = "mydjangoapp/home.html"
    part_name = "mydjangoapp/_entries.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        try:
            before = feeds.place(self.request.GET.get("before"))
        except ValueError:
            before = None
        page = reader.older(self.request.user.pk, limit=PHOTOS, before=before)
        return super().get_context_data(
            entries=page.entries, before=feeds.as_text(page.older), is_top=before is None, **kwargs
        )
