import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from mydjangoapp.models.photo_model import photo_model_name


class Migration(migrations.Migration):

    dependencies = [
        ('mydjangoapp', '0011_node_history'),
        migrations.swappable_dependency(photo_model_name()),
    ]

    operations = [
        migrations.AddField(
            model_name='photo',
            name='alt_text',
            field=models.CharField(blank=True, db_default='', help_text='what the picture shows, for people who do not see it', max_length=1500),
        ),
        migrations.AlterField(
            model_name='pendingchange',
            name='verb',
            field=models.CharField(choices=[('follow', 'Follow'), ('imported', 'Imported'), ('unfollow', 'Unfollow'), ('relation', 'Relation'), ('photo', 'Photo'), ('author', 'Author'), ('likes', 'Likes'), ('deleted', 'Deleted'), ('circle', 'Circle'), ('file', 'File')], max_length=8),
        ),
        migrations.CreateModel(
            name='Picture',
            fields=[
                ('photo', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to=photo_model_name())),
                ('file', models.CharField(help_text='name in the storage of what all this is of', max_length=255)),
                ('width', models.PositiveIntegerField(null=True)),
                ('height', models.PositiveIntegerField(null=True)),
                ('placeholder', models.CharField(blank=True, help_text='a tiny picture, as a data: URL', max_length=1000)),
                ('sizes', models.JSONField(null=True)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('due_at', models.DateTimeField(help_text='when they are to be asked for again; empty: they are there, or given up', null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='picture_due')],
            },
        ),
    ]
