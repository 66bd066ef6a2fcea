"""`manage.py run_worker photos circles`"""

from __future__ import annotations

import logging
from datetime import datetime

from .. import database
from ..circles import projection
from ..events import Message, Worker, action
from ..exceptions import DATABASE_AWAY, FeedsUnavailable
from ..models import Photo

logger = logging.getLogger(__name__)

AWAY_SECONDS = 2.0


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
        if self._is_there(message):
            created_at = datetime.fromisoformat(body["created_at"])
            projection.add(body["id"], body["user_id"], body["circle_id"], created_at)
            self._remove_if_gone(message)

    @action("photo.deleted")
    def deleted_handler(self, message: Message) -> None:
        body = message.body
        projection.remove(body["id"], body["user_id"], body["circle_id"])

    @action("photo.liked", "photo.unliked")
    def liked_handler(self, message: Message) -> None:
        body = message.body
        if body["circle_id"] is not None and self._is_there(message):
            counts = message.action == "photo.liked"
            like = projection.Liked(body["id"], body["liked_by"], body["like_id"], counts)
            day = projection.day_of(datetime.fromisoformat(body["liked_at"]))
            projection.count_likes(body["circle_id"], day, [like])
            self._remove_if_gone(message)

    def _is_there(self, message: Message) -> bool:
        """One that was deleted since, or whose circle was, does not come back by a message that is late."""
        body = message.body
        photos = database.primary(Photo).filter(id=body["id"])
        return photos.filter(circle=body["circle_id"]).exists() if body["circle_id"] else photos.exists()

    def _remove_if_gone(self, message: Message) -> None:
        """It may have been deleted, and that been handled, between our look and our change."""
        if not self._is_there(message):
            self.deleted_handler(message)
