"""Every key of circles, in the feeds' Redis: pattern, type, content, lifetime.

All are sorted sets of plain photo ids, made by the worker `photos_circles_worker`, except where it says
otherwise; anyone may look into them with redis-cli. `{user}` and `{circle}` are plain primary keys. A private
key lies in the slot of the public key that it belongs to (`connections/hash_tags.py`); `{…}` below.
"""

from __future__ import annotations

from datetime import date

from ..conf import conf
from ..connections.hash_tags import beside
from ..models import UserId


def of_author(user_id: UserId) -> str:
    """`photos:{user}`: an author's photos by id. Kept."""
    return f"{conf.KEY_PREFIX}photos:{user_id}"


def of_circle(circle_id: int) -> str:
    """`circle:{circle}:photos`: a circle's photos by id. Kept."""
    return f"{conf.KEY_PREFIX}circle:{circle_id}:photos"


def of_author_in_circle(circle_id: int, user_id: UserId) -> str:
    """`circle:{circle}:photos:{user}`: an author's photos in a circle by id. Kept."""
    return f"{of_circle(circle_id)}:{user_id}"


def hot(circle_id: int, day: date) -> str:
    """`circle:{circle}:hot:{YYYY-MM-DD}`: the ranking of a UTC day: 1 for being there, and one more for each
    like given on that day. Goes 30 days after the day."""
    return f"{conf.KEY_PREFIX}circle:{circle_id}:hot:{day.isoformat()}"


def counted(circle_id: int, day: date) -> str:
    """`hot-likes:{…}`, hash: `{photo}:{user}` -> `{like}:1` for a like that is counted in that day's ranking,
    `{like}:0` for one that was taken back. Goes with the ranking."""
    return beside(f"{conf.KEY_PREFIX}hot-likes", hot(circle_id, day))


def complete(circle_id: int) -> str:
    """`circle-complete:{…}`, string: the life (`feeds_redis.life`) in which what Redis holds of the circle
    was complete. If it is another now, Redis may lack something and is filled from SQL. Kept."""
    return beside(f"{conf.KEY_PREFIX}circle-complete", of_circle(circle_id))


def author_complete(user_id: UserId) -> str:
    """`photos-complete:{…}`, string: the same for `photos:{user}`. Kept."""
    return beside(f"{conf.KEY_PREFIX}photos-complete", of_author(user_id))


def rebuilding(key: str) -> str:
    """`rebuilding:{key}`, string: somebody has asked a worker to make that key anew. Lives for a minute."""
    return f"{conf.KEY_PREFIX}rebuilding:{key.removeprefix(conf.KEY_PREFIX)}"
