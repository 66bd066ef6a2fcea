"""Every setting of the app: name, type, default, unit and the reason for it.

The table in docs/SETTINGS.md is made from this file.
"""

from __future__ import annotations

from collections.abc import Mapping

from .kinds import (
    Setting,
    dotted_path,
    dotted_paths,
    events_problem,
    events_topics_problem,
    field_problem,
    number,
    number_or_none,
    numbers,
    on_unfollow_problem,
    parse_topics,
    prefix_problem,
    rate_problem,
    redis_problem,
    seconds,
)


class Conf:
    """The settings as attributes: `conf.BATCH_SIZE`."""

    REDIS_URL = Setting(
        "redis://127.0.0.1:6379/0",
        unit="URL",
        why="the Redis that holds the feeds; keep it apart from caches, it must not evict. 'off': feeds come "
        "from SQL, for tests of a site",
        parse=str,
        problem=redis_problem,
    )
    KEY_PREFIX = Setting(
        "",
        unit="text",
        why="put before every key the app makes, for a Redis shared with others",
        parse=str,
        problem=prefix_problem,
    )
    BATCH_SIZE = number(
        10_000,
        unit="followers",
        most=1_000_000,
        why="how many followers one task run serves; small enough that other uploads get their turn",
    )
    SLICE_SIZE = number(
        200,
        unit="followers",
        most=5_000,
        why="how many followers one atomic script call serves; it holds Redis for about 0.3 ms. "
        "Smaller: others wait less and the chain is slower",
    )
    SLICES_IN_FLIGHT = number(
        2,
        unit="slices",
        most=16,
        why="script calls a task keeps open at once, so that Redis never waits for Python",
    )
    BATCHES_IN_FLIGHT = number(
        2,
        unit="batches",
        most=16,
        why="on a cluster: batches of one photo that workers push at once. More: others wait longer",
    )
    MAX_LENGTH = number(
        800,
        unit="ids",
        most=100_000,
        why="photo ids kept in a home-feed list; older ones are read from SQL",
    )
    INACTIVE_AFTER = number_or_none(
        unit="seconds",
        why="home feeds that nobody has read for this long expire and are not pushed to, until their owner "
        "returns; None keeps all",
    )
    PULL_ABOVE = number_or_none(
        unit="followers",
        least=0,
        why="photos of authors with more followers are not pushed but merged at each read; None pushes all",
    )
    ON_UNFOLLOW = Setting(
        "hide",
        unit="hide, keep",
        why="whether an unfollow takes the photos that were there already out of the feed; "
        "run rebuild_homefeeds after changing it",
        parse=str,
        problem=on_unfollow_problem,
    )
    COLLAPSE_AUTHOR_AFTER = number_or_none(
        unit="photos",
        why="more photos than this in a row by one author are shown as one, with a count; None shows all",
    )
    FEED_FILTER = dotted_path(
        unit="callable",
        why="gets a user's id and photos that their feed would show; returns the ids of those that it shows. "
        "The page is filled up with what comes after",
    )
    RANKING = dotted_path(
        unit="callable",
        why="gets a user's id and the newest entries of their feed that no page has shown yet; returns them "
        "in the order in which they are shown. `COLLAPSE_AUTHOR_AFTER` does not apply then",
    )
    RANKING_CANDIDATES = number(
        100,
        unit="photos",
        most=200,
        why="how many photos a page's order is made of; the next ones come when all of them have been shown",
    )
    CACHE_SECONDS = number(
        3_600,
        unit="seconds",
        most=10**7,
        why="how long photos, authors and relations stay in Django's cache; changes are seen at once anyway",
    )
    LEASE_SECONDS = seconds(
        30.0,
        why="a fan-out that stood still for this long has lost its worker and may be taken over",
    )
    SETTLE_SECONDS = seconds(
        3.0,
        why="a crash of Redis cannot take back what it held this long (appendfsync everysec may lose two "
        "seconds): only then is a fan-out `done`, and a change of the graph or an event forgotten",
    )
    MAX_ATTEMPTS = number(
        10,
        unit="attempts",
        most=10_000,
        why="starts of a fan-out without any progress before it is given up as failed",
    )
    REDIS_TIMEOUT = seconds(
        2.0,
        why="how long a single Redis command may take before it counts as failed and is repeated",
    )
    PUBLISH_TIMEOUT = seconds(
        0.8,
        why="how long a request waits for the broker to take a message, and all steps of a commit together "
        "for servers that are slow; rescue and outbox do what was not done",
    )
    COMPACT_AFTER = number(
        1_000,
        unit="changes",
        most=10_000_000,
        why="follows and unfollows since the last compaction of a follower list before the next one; "
        "at least a tenth of the list's length",
    )
    KEEP_UPLOAD_KEYS = number(
        7,
        unit="days",
        most=36_500,
        why="how long an Idempotency-Key stands for its photo; then manage.py prune deletes it",
    )
    KEEP_FANOUTS = number(
        90,
        unit="days",
        most=36_500,
        why="how long the ledger knows a fan-out that has ended; a later message still does nothing",
    )
    EVENTS_URL: Setting[str | None] = Setting(
        None,
        unit="URL",
        why="what carries events (topics and channels); None: database 3 of the feeds' Redis server, "
        "or the feeds' cluster; 'off': nothing is published",
        parse=lambda text: text or None,
        problem=events_problem,
    )
    EVENTS_TOPICS: Setting[Mapping[str, str]] = Setting(
        {},
        unit="topic: URL",
        why="topics that something else carries; in the environment `photos=redis://… graph=off`",
        parse=parse_topics,
        problem=events_topics_problem,
    )
    EVENTS_TIMEOUT = seconds(
        30.0,
        why="a message that was taken and not finished for so long is given to another worker",
    )
    EVENTS_MAX_ATTEMPTS = number(
        5,
        unit="attempts",
        most=60_000,
        why="deliveries of a message to one channel before it goes to its dead letters",
    )
    EVENTS_BACKOFF_MAX = seconds(
        60.0,
        why="longest pause before a failed message comes again; it begins with 1 s and doubles",
    )
    EVENTS_REMEMBER = number(
        3_600,
        unit="seconds",
        why="how long the ids of finished messages are remembered, so that none is handled twice; about "
        "130 bytes each",
    )
    EVENTS_KEEP = number(
        100_000,
        unit="messages",
        why="finished messages of a topic that are kept for channels that begin at the beginning",
    )
    EVENTS_KEEP_DEAD = number(
        30,
        unit="days",
        most=36_500,
        why="how long dead letters are kept for replay; /readyz/ and /metrics tell of them meanwhile",
    )
    EVENTS_BEHIND = number(
        100_000,
        unit="messages",
        why="a channel that is further behind is named in /readyz/: nobody serves it, and what waits for it "
        "fills the Redis that carries the events",
    )
    EVENTS_DRAIN = seconds(
        10.0,
        why="how long a worker that is told to stop may take to finish what it has in hand",
    )
    PUBLIC_NAME: Setting[str | None] = Setting(
        None,
        unit="field",
        why="the field of the user model that others see as `username`; None: `username` where people log in "
        "by a field of that name and it is no e-mail address, else nothing",
        parse=lambda text: text or None,
        problem=field_problem,
    )
    AUTHOR_SERIALIZER = dotted_path(
        unit="serializer or callable",
        why="what others see of a user instead of `username` and `name`: a serializer, or a callable that "
        "gets the user and returns a dict; it is kept in the cache until the user is saved",
    )
    PHOTO_SERIALIZER = dotted_path(
        unit="serializer",
        why="what the API shows of a photo of the site's own model besides what it shows of every photo; "
        "a class method `prefetch(photos)` may add to the query",
    )
    UPLOAD_SERIALIZER = dotted_path(
        unit="serializer",
        why="what `POST /upload/` takes, for a photo model of the site's own; it saves the photo",
    )
    AUTHENTICATION_CLASSES = dotted_paths(
        "mydjangoapp.api.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
        unit="classes",
        why="how the API finds out who calls; None: REST framework's own setting of the site",
    )
    PERMISSION_CLASSES = dotted_paths(
        "rest_framework.permissions.IsAuthenticated",
        unit="classes",
        why="who may use the API, beyond being logged in; None: REST framework's own setting of the site",
    )
    RENDERER_CLASSES = dotted_paths(
        "rest_framework.renderers.JSONRenderer",
        unit="classes",
        why="the forms in which the API answers; None: REST framework's own setting of the site",
    )
    UPLOAD_MAX_BYTES = number(10 * 1024 * 1024, unit="bytes", why="largest image file that is taken")
    UPLOAD_MAX_PIXELS = number(
        50_000_000,
        unit="pixels",
        why="largest width times height of a JPEG or PNG that is decoded; fewer where a pixel takes more "
        "memory: WebP (a quarter), CMYK (two thirds), progressive JPEG (four fifths). All images that a "
        "process decodes at once take at most 8 bytes times this: 400 MB",
    )
    PICTURE_WIDTHS = numbers(
        320,
        640,
        1_280,
        unit="pixels",
        most=16_383,
        why="widths of the smaller files that a task makes of each image; none is larger than the original. "
        "Empty: none are made. In the environment `320 640`",
    )
    FILE_URL_SECONDS = number(
        900,
        unit="seconds",
        most=10**7,
        why="for how long the URL of a stored file is given out again, so that browsers know what they have. "
        "Where a storage signs URLs, less than half of the time that they count",
    )
    UPLOAD_RATE: Setting[str | None] = Setting(
        "600/min",
        unit="rate",
        why="uploads one user may make, None for no limit",
        parse=lambda text: text or None,
        problem=rate_problem,
    )
    CHANGE_RATE: Setting[str | None] = Setting(
        "1200/min",
        unit="rate",
        why="follows, mutes, blocks, likes and deletions one user may make, None for no limit",
        parse=lambda text: text or None,
        problem=rate_problem,
    )
    TOKEN_RATE: Setting[str | None] = Setting(
        "30/min",
        unit="rate",
        why="attempts to log in for a token from one address (of IPv6: one /64 network), None for no limit",
        parse=lambda text: text or None,
        problem=rate_problem,
    )
    TOKEN_NAME_RATE: Setting[str | None] = Setting(
        "30/min",
        unit="rate",
        why="attempts to log in for a token by one name, from whatever addresses, None for no limit",
        parse=lambda text: text or None,
        problem=rate_problem,
    )
