from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('mydjangoapp', '0010_fanout_author'),
    ]

    operations = [
        migrations.CreateModel(
            name='NodeHistory',
            fields=[
                ('slot', models.PositiveSmallIntegerField(primary_key=True, serialize=False)),
                ('confirmed', models.CharField(blank=True, help_text='disk and replica had it', max_length=12)),
                ('pending', models.CharField(help_text='is to be confirmed next', max_length=12)),
                ('pending_at', models.DateTimeField()),
                ('lost_at', models.DateTimeField(blank=True, null=True)),
                ('life', models.CharField(blank=True, help_text='of the node whose keys are gone through', max_length=12)),
                ('position', models.CharField(default='0', help_text='among them, as SCAN has it', max_length=20)),
            ],
            options={
                'verbose_name_plural': 'node histories',
            },
        ),
    ]
