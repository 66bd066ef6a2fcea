"""The articles' table becomes the feeds': made by makemigrations, but for `keep_dates`."""

from typing import Any

import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


def keep_dates(apps: Any, schema_editor: Any) -> None:
    """Feeds show old articles with the dates they had."""
    articles = apps.get_model("magazine", "Article")._default_manager.using(schema_editor.connection.alias)
    articles.update(created_at=models.F("published"))


class Migration(migrations.Migration):

    dependencies = [
        ('magazine', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='article',
            options={'ordering': ['-id'], 'permissions': [('upload_for_others', "Can upload photos in other users' names")]},
        ),
        migrations.AddField(
            model_name='article',
            name='circle_id',
            field=models.BigIntegerField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='article',
            name='created_at',
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
        migrations.AddField(
            model_name='article',
            name='like_count',
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name='article',
            name='pulled',
            field=models.BooleanField(default=False, editable=False, help_text='not pushed: its author has more than PULL_ABOVE followers'),
        ),
        migrations.AddIndex(
            model_name='article',
            index=models.Index(fields=['author', '-id'], name='article_user_newest'),
        ),
        migrations.AddIndex(
            model_name='article',
            index=models.Index(fields=['circle_id', '-id'], name='article_circle_newest'),
        ),
        migrations.AddIndex(
            model_name='article',
            index=models.Index(condition=models.Q(('pulled', True)), fields=['author', '-id'], name='article_pulled'),
        ),
        migrations.RunPython(keep_dates, migrations.RunPython.noop),
    ]
