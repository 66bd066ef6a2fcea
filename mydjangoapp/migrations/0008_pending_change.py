"""The outbox gets a name that says what is in it, and fields that mean one thing each.

Changes that wait are kept.
"""

from typing import Any

from django.db import migrations, models
from django.db.models import F


def move_rows(apps: Any, schema_editor: Any) -> None:
    """Each verb had its own meaning of `row` and `last_row`."""
    changes = apps.get_model("mydjangoapp", "PendingChange").objects.using(schema_editor.connection.alias)
    changes.filter(verb__in=("photo", "deleted", "likes")).update(photo_id=F("row"))
    changes.filter(verb="deleted", last_row=1).update(only_file_is_left=True)
    changes.filter(verb="circle").update(circle_id=F("row"))
    changes.filter(verb__in=("follow", "unfollow")).update(follow_id=F("row"), last_follow_id=F("last_row"))


def move_rows_back(apps: Any, schema_editor: Any) -> None:
    changes = apps.get_model("mydjangoapp", "PendingChange").objects.using(schema_editor.connection.alias)
    changes.filter(verb__in=("photo", "deleted", "likes")).update(row=F("photo_id"))
    changes.filter(only_file_is_left=True).update(last_row=1)
    changes.filter(verb="circle").update(row=F("circle_id"))
    changes.filter(verb="unfollow").update(row=F("follow_id"))
    changes.filter(verb="follow").update(row=F("follow_id"), last_row=F("last_follow_id"))


class Migration(migrations.Migration):
    dependencies = [("mydjangoapp", "0007_outbox_counts")]

    operations = [
        migrations.RenameModel("GraphChange", "PendingChange"),
        migrations.RenameField("PendingChange", "follower", "user"),
        migrations.RenameField("PendingChange", "followee", "author"),
        migrations.AddField("PendingChange", "photo_id", models.BigIntegerField(null=True)),
        migrations.AddField("PendingChange", "circle_id", models.BigIntegerField(null=True)),
        migrations.AddField("PendingChange", "follow_id", models.BigIntegerField(null=True)),
        migrations.AddField("PendingChange", "last_follow_id", models.BigIntegerField(null=True)),
        migrations.AddField(
            "PendingChange",
            "only_file_is_left",
            models.BooleanField(default=False, help_text="of a deletion: everything else has been done"),
        ),
        migrations.RunPython(move_rows, move_rows_back),
        migrations.RemoveField("PendingChange", "row"),
        migrations.RemoveField("PendingChange", "last_row"),
        migrations.AlterField(
            "FanOut",
            "finished_at",
            models.DateTimeField(blank=True, help_text="the end", null=True),
        ),
    ]
