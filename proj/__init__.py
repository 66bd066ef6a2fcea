"""A site that runs `mydjangoapp`. Importing it makes its Celery app the one that tasks are sent with."""

from .celery import app as celery_app

__all__ = ("celery_app",)
