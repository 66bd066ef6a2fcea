"""`manage.py make_sizes [--all] [--json]`"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Exists, OuterRef

from mydjangoapp import pictures
from mydjangoapp.connections import database
from mydjangoapp.connections.paging import in_pages
from mydjangoapp.models import Picture, get_photo_model

from ._report import ReportingCommand

ROWS = 500


class Command(ReportingCommand):
    help = (
        "Has workers make the smaller files of photos that were there before they were made, a hundred every "
        "few seconds. May be broken off and repeated."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--all", action="store_true", help="of all photos, anew: after PICTURE_WIDTHS has been changed"
        )

    def handle(self, *args: Any, all: bool, **options: Any) -> None:
        photos = database.primary(get_photo_model())
        if not all:
            photos = photos.exclude(Exists(database.primary(Picture).filter(photo=OuterRef("pk"))))
        pages = in_pages(photos, size=ROWS)
        number = sum(map(pictures.again, self.with_bar(pages, -(-photos.count() // ROWS), "photos")))
        self.report(f"{number:,} photos wait for their sizes", photos=number)
