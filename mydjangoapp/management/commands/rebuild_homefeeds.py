"""`manage.py rebuild_homefeeds [--user ID]`"""

from __future__ import annotations

from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from mydjangoapp.exceptions import FeedError
from mydjangoapp.homefeed import verify

from ._users import users_to_go_through, with_bar


class Command(BaseCommand):
    help = (
        "Builds the home feeds that are in Redis anew from SQL, while the site runs. One that is not there, "
        "or that changed all the time, is built by its next reader."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", help="id of the only user to do it for")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(file=cast(IO[str], self.stderr))
        users, number = users_to_go_through(options["user"])
        built = 0
        try:
            for user in with_bar(console, users, number, "home feeds"):
                built += verify.mend_feed(user)
        except FeedError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{built:,} home feeds built, {number - built:,} left to their next reader")
