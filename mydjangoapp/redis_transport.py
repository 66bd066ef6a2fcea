"""For a site's Celery app: `redis_transport.use()` (see `connections/kombu_redis.py`)."""

from .connections.kombu_redis import use

__all__ = ["use"]
