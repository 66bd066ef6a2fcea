"""Photos and follows keep the dates that they are brought along with; names on the site's users and photos that
cannot clash with the site's own. Nothing changes in the database."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import mydjangoapp.models.photo
from mydjangoapp.models.photo_model import photo_model_name


class Migration(migrations.Migration):
    dependencies = [
        ("mydjangoapp", "0008_pending_change"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        migrations.swappable_dependency(photo_model_name()),
    ]

    state_operations = [
        *(
            migrations.AlterField(
                model,
                name,
                models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                ),
            )
            for model, name in (("follow", "followee"), ("follow", "follower"), ("photo", "user"))
        ),
        *(
            migrations.AlterField(
                model, "created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)
            )
            for model in ("follow", "photo")
        ),
        migrations.AlterField(
            "photo",
            "image",
            models.FileField(blank=True, upload_to=mydjangoapp.models.photo.image_path),
        ),
        migrations.AlterField(
            "like",
            "photo",
            models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=photo_model_name(),
            ),
        ),
        migrations.AlterField(
            "pendingchange",
            "verb",
            models.CharField(
                choices=[
                    ("follow", "Follow"),
                    ("imported", "Imported"),
                    ("unfollow", "Unfollow"),
                    ("relation", "Relation"),
                    ("photo", "Photo"),
                    ("author", "Author"),
                    ("likes", "Likes"),
                    ("deleted", "Deleted"),
                    ("circle", "Circle"),
                ],
                max_length=8,
            ),
        ),
    ]
    operations = [migrations.SeparateDatabaseAndState(state_operations=state_operations)]
