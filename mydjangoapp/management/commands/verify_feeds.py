"""`manage.py verify_feeds [--user ID] [--sample N] [--repair] [--json]`"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.core.management.base import CommandError, CommandParser

from mydjangoapp.exceptions import FeedError, FollowersBeingRebuilt
from mydjangoapp.homefeed import verify
from mydjangoapp.homefeed.verify import Difference

from ._report import ReportingCommand
from ._users import users_to_go_through

NAMED = 1_000  # differences that a report in JSON names


class Command(ReportingCommand):
    help = (
        "Compares home feeds and follower lists with SQL, safely while the site runs. "
        "Exit status: 0 if all is right, or was mended; 1 if anything differs; 2 if Redis could not be asked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--user", help="id of the only user to look at")
        parser.add_argument("--sample", type=int, help="look at so many users, drawn at random")
        parser.add_argument("--repair", action="store_true", help="mend what differs")

    def handle(self, *args: Any, repair: bool, **options: Any) -> None:
        users, number = users_to_go_through(options["user"], options["sample"])
        different = left = 0
        differences: list[str] = []
        try:
            for user in self.with_bar(users, number, "verifying"):
                found = self._look(user)
                different += bool(found)
                for difference in found:
                    self.report(str(difference))
                    if len(differences) < NAMED:
                        differences.append(str(difference))
                if found and repair:
                    found = self._mend(user)
                    for difference in found:
                        self.report(f"still so: {difference}")
                left += bool(found)
        except FeedError as error:
            raise CommandError(str(error), returncode=2) from error
        mended = f", {different - left:,} mended" if repair else ""
        self.report(
            f"{number:,} users looked at, {different:,} with differences{mended}",
            users=number,
            different=different,
            left=left,
            differences=differences,
        )
        if left:
            raise CommandError("Run it again with --repair." if not repair else "Not all could be mended.")

    @staticmethod
    def _look(user: Any) -> list[Difference]:
        return verify.feed(user) + verify.follower_list(user)

    @staticmethod
    def _mend(user: Any) -> list[Difference]:
        if verify.feed(user):
            verify.mend_feed(user)
        if verify.follower_list(user):
            with suppress(FollowersBeingRebuilt):
                verify.mend_follower_list(user)
        return verify.feed(user) + verify.follower_list(user)
