"""Changes of the graph that Redis may not have yet."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class GraphChange(models.Model):
    """The outbox of the graph: written in the change's own transaction, brought into Redis at once on
    commit and once more some seconds later, then deleted (`outbox.py`).

    `follow`: the `Follow` rows of `followee` with ids from `row` to `last_row`. `unfollow`: the deleted
    row `row` of `follower` and `followee`. `relation`: something else about whom `follower` wants to see.
    `photo`: the photo `row` was changed. `deleted`: the photo `row` of `followee` with this `file` was
    deleted. `author`: the user `follower` has a new name, or is gone. `likes`: `follower` likes the photo
    `row`, or no longer. `circle`: the circle `row` was deleted.
    """

    class Verb(models.TextChoices):
        FOLLOW = "follow"
        UNFOLLOW = "unfollow"
        RELATION = "relation"
        PHOTO = "photo"
        AUTHOR = "author"
        LIKES = "likes"
        DELETED = "deleted"
        CIRCLE = "circle"

    id = models.BigAutoField(primary_key=True)
    verb = models.CharField(max_length=8, choices=Verb.choices)
    # Without constraint: a change outlives its users.
    follower = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    followee = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    row = models.BigIntegerField(default=0)
    last_row = models.BigIntegerField(default=0)
    file = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.verb} of {self.follower_id}, {self.followee_id}, {self.row}"
