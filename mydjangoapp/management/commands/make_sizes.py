"""`manage.py make_sizes [--all]`"""

from __future__ import annotations

from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandParser
from django.db.models import Exists, OuterRef
from rich.console import Console

from mydjangoapp import pictures
from mydjangoapp.connections import database
from mydjangoapp.connections.paging import in_pages
from mydjangoapp.models import Picture, get_photo_model

from ._users import with_bar

ROWS = 500


class Command(BaseCommand):
    help = (
        "Has workers make the smaller files of photos that were there before they were made, a hundred every "
        "few seconds. May be broken off and repeated."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--all", action="store_true", help="of all photos, anew: after PICTURE_WIDTHS has been changed"
        )

    def handle(self, *args: Any, all: bool, **options: Any) -> None:
        photos = database.primary(get_photo_model())
        if not all:
            photos = photos.exclude(Exists(database.primary(Picture).filter(photo=OuterRef("pk"))))
        console = Console(file=cast(IO[str], self.stderr))
        pages = in_pages(photos, size=ROWS)
        number = sum(map(pictures.again, with_bar(console, pages, -(-photos.count() // ROWS), "photos")))
        self.stdout.write(f"{number:,} photos wait for their sizes")
