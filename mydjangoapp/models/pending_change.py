"""Committed changes that Redis, cache or storage may not have yet."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class PendingChange(models.Model):
    """The outbox of the feeds: written in the change's own transaction, brought into Redis at once on commit
    and again some seconds later if there is no receipt, then deleted (`outbox.py`).

    | verb | what it says | fields |
    |---|---|---|
    | follow | the `Follow` rows of `author` from `follow_id` to `last_follow_id` were made | author |
    | imported | the `Follow` rows from `follow_id` to `last_follow_id`, of any authors, were made | |
    | unfollow | the `Follow` row `follow_id` of `user` and `author` was deleted | user, author |
    | relation | `user` wants to see other people than before (mute, block) | user |
    | photo | the photo `photo_id` was changed | photo_id |
    | deleted | the photo `photo_id` of `author`, with this `file`, was deleted | author, photo_id, file |
    | author | `user` has another name, or was deleted | user |
    | likes | `user` likes the photo `photo_id`, or no longer does | user, photo_id |
    | circle | the circle `circle_id` was deleted | circle_id |
    | file | this `file` stands for a photo no more; nobody waits for its end | file |
    """

    class Verb(models.TextChoices):
        FOLLOW = "follow"
        IMPORTED = "imported"
        UNFOLLOW = "unfollow"
        RELATION = "relation"
        PHOTO = "photo"
        AUTHOR = "author"
        LIKES = "likes"
        DELETED = "deleted"
        CIRCLE = "circle"
        FILE = "file"

    id = models.BigAutoField(primary_key=True)
    verb = models.CharField(max_length=8, choices=Verb.choices)
    # Without constraint: a change outlives its users.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    photo_id = models.BigIntegerField(null=True)
    circle_id = models.BigIntegerField(null=True)
    follow_id = models.BigIntegerField(null=True)
    last_follow_id = models.BigIntegerField(null=True)
    file = models.CharField(max_length=255, blank=True)
    only_file_is_left = models.BooleanField(
        default=False, help_text="of a deletion: everything else has been done"
    )
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        fields = ("user_id", "author_id", "photo_id", "circle_id", "follow_id")
        known = [f"{field} {value}" for field in fields if (value := getattr(self, field)) is not None]
        return f"{self.verb} ({', '.join(known)})"
