"""The site's Celery app: `celery -A proj worker`, `celery -A proj beat`."""

import logging.config
import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from django.conf import settings

from mydjangoapp import celery_defaults

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")

app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
celery_defaults.use(app)
app.autodiscover_tasks()


@setup_logging.connect
def log_as_django_does(**_: Any) -> None:
    """One logging configuration for web and worker, instead of Celery's own."""
    logging.config.dictConfig(settings.LOGGING)
