"""`manage.py rebuild_circles [--circle ID] [--json]`"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from mydjangoapp.circles import rebuild
from mydjangoapp.exceptions import FeedError
from mydjangoapp.models import Circle

from ._report import ReportingCommand
from ._users import users_to_go_through


class Command(ReportingCommand):
    help = "Makes circles' photos and daily rankings in Redis, and authors' photos, anew from SQL."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--circle", type=int, help="id of the only circle to do it for; leaves authors")

    def handle(self, *args: Any, circle: int | None, **options: Any) -> None:
        circles = Circle.objects.order_by("id")
        if circle is not None and not (circles := circles.filter(id=circle)):
            raise CommandError(f"--circle: there is no circle with the id {circle}.")
        try:
            number = circles.count()
            photos = sum(map(rebuild.rebuild, self.with_bar(circles.iterator(), number, "circles")))
            self.report(
                f"{number:,} circles built, with {photos:,} photos", circles=number, circle_photos=photos
            )
            if circle is None:
                users, number = users_to_go_through(None)
                photos = sum(map(rebuild.rebuild_author, self.with_bar(users, number, "authors")))
                self.report(
                    f"{number:,} authors built, with {photos:,} photos", authors=number, author_photos=photos
                )
        except FeedError as error:
            raise CommandError(str(error)) from error
