"""`manage.py run_worker photos circles`"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import NamedTuple

from ..circles import projection
from ..connections import database
from ..events import Message, Worker, action
from ..exceptions import DATABASE_AWAY, FeedsUnavailable
from ..models import get_photo_model

logger = logging.getLogger(__name__)

AWAY_SECONDS = 2.0


class There(NamedTuple):
    """A photo that is there. `circle`: the message's, if the photo is in it still."""

    circle: int | None


class PhotosCirclesWorker(Worker):
    """Keeps the photos and the daily rankings of circles in Redis."""

    from_beginning = True

    def handle(self, message: Message) -> None:
        """While Redis or the database is away, messages wait, and that is not counted as an attempt."""
        try:
            super().handle(message)
        except (FeedsUnavailable, *DATABASE_AWAY) as error:
            logger.error("message %s has to wait: %s", message.id, error)
            message.requeue(delay=AWAY_SECONDS, count_attempt=False)

    @action("photo.published")
    def published_handler(self, message: Message) -> None:
        body = message.body
        if (there := self._look(message)) is not None:
            created_at = datetime.fromisoformat(body["created_at"])
            projection.add(body["id"], body["user_id"], there.circle, created_at)
            self._look_again(message)

    @action("photo.deleted")
    def deleted_handler(self, message: Message) -> None:
        body = message.body
        projection.remove(body["id"], body["user_id"], body["circle_id"])

    @action("photo.liked", "photo.unliked")
    def liked_handler(self, message: Message) -> None:
        body, there = message.body, self._look(message)
        if there is not None and there.circle is not None:
            counts = message.action == "photo.liked"
            like = projection.Liked(body["id"], body["liked_by"], body["like_id"], counts)
            day = projection.day_of(datetime.fromisoformat(body["liked_at"]))
            projection.count_likes(there.circle, day, [like])
            self._look_again(message)

    def _look(self, message: Message) -> There | None:
        """What SQL has of the photo; None if it was deleted since: a message that is late must not bring it
        back."""
        body = message.body
        photos = database.primary(get_photo_model()).filter(id=body["id"])
        found = photos.values_list("circle_id").first()
        return found and There(body["circle_id"] if found[0] == body["circle_id"] else None)

    def _look_again(self, message: Message) -> None:
        """Undoes our change if the photo or circle was deleted between our look and our change."""
        body, there = message.body, self._look(message)
        if there is None:
            self.deleted_handler(message)
        elif there.circle is None and body["circle_id"] is not None:
            projection.remove(body["id"], body["user_id"], body["circle_id"], from_author=False)
