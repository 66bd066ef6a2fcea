"""One family of errors: catch `FeedError` for all of them. Each message says what to do next."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError
from django.utils.translation import gettext as _

DATABASE_AWAY = (OperationalError, InterfaceError)
"""What Django raises when the database does not answer, is locked, or has closed the connection."""


class FeedError(Exception):
    """Anything this app raises of its own accord."""


class BadSetting(FeedError):
    """A value in the `MYDJANGOAPP` dict is wrong."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem
        super().__init__(f"MYDJANGOAPP[{name!r}] {problem}. Correct it in the site's settings.")


class FeedsUnavailable(FeedError):
    """The feeds' Redis cannot be reached or does not answer; the same call may work later."""


class FeedsRefused(FeedError):
    """The feeds' Redis answered with an error: out of memory, read-only, a key of a wrong type."""


class FollowersBeingRebuilt(FeedError):
    """Another process is rebuilding this follower list from SQL at this moment; call again."""


class PhotoIdTooLarge(FeedError):
    """A photo whose id is above 2**53 - 1, the largest number that Redis's scripts count with exactly; it was
    not published. Let ids grow from below, one by one."""


class BadUpload(FeedError):
    """An upload that is refused; nothing was saved. `field` names the part that is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(f"{field}: {reason}")


class UploadsBusy(FeedError):
    """Too many large images are being uploaded at this moment; nothing was saved. The same upload may work
    some seconds later."""

    def __init__(self) -> None:
        super().__init__(_("image: too many large images are being uploaded. Try again in some seconds."))


class NotAMember(BadUpload):
    """A photo for a circle of which its author is no member; nothing was saved."""


class Blocked(FeedError):
    """A follow that is refused because one of the two blocks the other."""


class EventsUnavailable(FeedError):
    """The Redis or nsqd that carries events cannot be reached; the same call may work later."""


class EventsRefused(FeedError):
    """What carries events answered with an error: out of memory, a key of a wrong type, a bad name."""


class BadEvent(FeedError, ValueError):
    """A message that cannot be published, or an invalid name. `field` names the part that is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(f"{field}: {reason}")


class UnknownWorker(FeedError):
    """No installed app has a worker for this topic and channel; the message lists those there are."""
