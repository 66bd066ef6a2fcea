"""`manage.py rebuild_followers [--user ID] [--json]`"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from mydjangoapp.exceptions import FeedError, FollowersBeingRebuilt
from mydjangoapp.homefeed import followers, verify

from ._report import ReportingCommand
from ._users import users_to_go_through


class Command(ReportingCommand):
    help = (
        "Makes follower lists anew from SQL, while the site runs. Lists of authors with a fan-out under "
        "way are left as they are, and so are lists of authors without a follower in SQL. "
        "Exit status: 1 if a list that has followers was left."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--user", help="id of the only author to do it for")

    def handle(self, *args: Any, **options: Any) -> None:
        users, number = users_to_go_through(options["user"])
        done = 0
        left: list[str] = []
        try:
            for user in self.with_bar(users, number, "follower lists"):
                try:
                    rebuilt = verify.mend_follower_list(user)
                except FollowersBeingRebuilt:
                    rebuilt = False
                done += rebuilt
                if not rebuilt and followers.are_in_sql(user):
                    left.append(str(user))
        except FeedError as error:
            raise CommandError(str(error)) from error
        self.report(f"{done:,} follower lists rebuilt", rebuilt=done, left=len(left))
        if left:
            raise CommandError(
                f"{len(left):,} left as they are (a fan-out or another rebuild is under way): "
                f"{', '.join(left[:10])}. Run it again later."
            )
