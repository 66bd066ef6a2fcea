"""`manage.py rebuild_circles [--circle ID]`"""

from __future__ import annotations

from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from mydjangoapp.circles import rebuild
from mydjangoapp.exceptions import FeedError
from mydjangoapp.models import Circle

from ._users import users_to_go_through, with_bar


class Command(BaseCommand):
    help = "Makes circles' photos and daily rankings in Redis, and authors' photos, anew from SQL."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--circle", type=int, help="id of the only circle to do it for; leaves authors")

    def handle(self, *args: Any, circle: int | None, **options: Any) -> None:
        console = Console(file=cast(IO[str], self.stderr))
        circles = Circle.objects.order_by("id")
        if circle is not None and not (circles := circles.filter(id=circle)):
            raise CommandError(f"--circle: there is no circle with the id {circle}.")
        try:
            number = circles.count()
            photos = sum(map(rebuild.rebuild, with_bar(console, circles.iterator(), number, "circles")))
            self.stdout.write(f"{number:,} circles built, with {photos:,} photos")
            if circle is None:
                users, number = users_to_go_through(None)
                photos = sum(map(rebuild.rebuild_author, with_bar(console, users, number, "authors")))
                self.stdout.write(f"{number:,} authors built, with {photos:,} photos")
        except FeedError as error:
            raise CommandError(str(error)) from error
