"""Feeds as a client gets them, and as one SQL query says they have to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from django.db import connection as database
from rest_framework.test import APIClient

from mydjangoapp import uploads
from mydjangoapp.homefeed import delivery
from mydjangoapp.homefeed.delivery import Beginning, Message
from mydjangoapp.models import Photo, get_photo_model

People = Callable[[int], list[Any]]
ORACLE = """
SELECT id FROM {photos} AS photo WHERE user_id = %(me)s OR (
  (EXISTS (SELECT 1 FROM mydjangoapp_follow WHERE follower_id = %(me)s AND followee_id = photo.user_id)
   OR (%(keep)s AND EXISTS (SELECT 1 FROM mydjangoapp_pastfollow
                            WHERE follower_id = %(me)s AND followee_id = photo.user_id AND upto >= photo.id)))
  AND NOT EXISTS (SELECT 1 FROM mydjangoapp_mute WHERE muter_id = %(me)s AND muted_id = photo.user_id)
  AND NOT EXISTS (SELECT 1 FROM mydjangoapp_block WHERE blocker_id = %(me)s AND blocked_id = photo.user_id)
  AND NOT EXISTS (SELECT 1 FROM mydjangoapp_block WHERE blocked_id = %(me)s AND blocker_id = photo.user_id)
) ORDER BY id DESC
"""


def truth_of(user: Any, keep: bool = False) -> list[int]:
    """The oracle: ids of the whole feed."""
    with database.cursor() as cursor:
        me = user._meta.pk.get_db_prep_value(user.pk, database)
        cursor.execute(ORACLE.format(photos=get_photo_model()._meta.db_table), {"me": me, "keep": keep})
        return [row[0] for row in cursor.fetchall()]


def paged(client: APIClient, limit: int, *, full: bool = True) -> list[int]:
    """Ids of the whole feed as a client gets them, page by page."""
    ids: list[int] = []
    url = f"/feed/?limit={limit}"
    while url:
        answer = client.get(url)
        assert answer.status_code == 200, answer.content
        page = answer.json()
        ids += [photo["id"] for photo in page["results"]]
        assert full is False or len(page["results"]) == limit or page["next"] is None, "pages are full"
        url = page["next"]
    return ids


def as_json(user_id: Any) -> Any:
    """A user's id as answers and events have it."""
    return user_id if isinstance(user_id, int) else str(user_id)


def at(user: Any) -> str:
    """A user's id in an URL."""
    return quote(str(user.pk), safe="")


def username(user: Any) -> str:
    """What others see of the name that a user logs in by: nothing, if that is an e-mail address."""
    return "" if user.USERNAME_FIELD == "email" else str(user.get_username())


def logged_in(user: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(user)
    return client


def publish(user: Any, number: int = 1) -> list[int]:
    return [uploads.publish(user, **fields_of(f"no. {n}")).pk for n in range(number)]


def fields_of(text: str) -> dict[str, str]:
    """What a new photo of the site's model has to have."""
    if get_photo_model() is Photo:
        return {"description": text, "photo_url": "https://example.com/p.jpg"}
    return {"text": text}


def carry(photo: int, author: Any) -> None:
    """A fan-out in this process, to its end."""
    batch = delivery.begin(Message(photo, author.pk), Beginning(without_followers=True))
    assert delivery.serve(batch, lambda link: True).status is delivery.Status.ENDED


def ids_of(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [photo["id"] for photo in answer.json()["results"]]
