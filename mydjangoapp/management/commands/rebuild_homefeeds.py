"""`manage.py rebuild_homefeeds [--user ID] [--json]`"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from mydjangoapp.exceptions import FeedError
from mydjangoapp.homefeed import verify

from ._report import ReportingCommand
from ._users import users_to_go_through


class Command(ReportingCommand):
    help = (
        "Builds the home feeds that are in Redis anew from SQL, while the site runs. One that is not there, "
        "or that changed all the time, is built by its next reader."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--user", help="id of the only user to do it for")

    def handle(self, *args: Any, **options: Any) -> None:
        users, number = users_to_go_through(options["user"])
        built = 0
        try:
            for user in self.with_bar(users, number, "home feeds"):
                built += verify.mend_feed(user)
        except FeedError as error:
            raise CommandError(str(error)) from error
        self.report(
            f"{built:,} home feeds built, {number - built:,} left to their next reader",
            built=built,
            left=number - built,
        )
