"""What a site's Celery app needs for the feeds; to be called where the site makes it::

    app = Celery("mysite")
    app.config_from_object("django.conf:settings", namespace="CELERY")
    celery_defaults.use(app)
    app.autodiscover_tasks()

Whatever the site sets itself counts. Of what goes with quorum queues, `CELERY_TASK_DEFAULT_QUEUE_TYPE =
"quorum"` is all that it has to set. Reasons: docs/OPERATING.md.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from celery.app.utils import Settings

from .conf import conf
from .connections import kombu_redis, task_database

SCHEDULE = {"mydjangoapp.tasks.rescue_fanouts": 5.0, "mydjangoapp.tasks.prune": 3_600.0}
"""What beat has to send, and how many seconds apart."""

# A refused connection is an answer: kombu would ask for two seconds whether it is meant.
_FAIL_AT_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}
REDIS_OPTIONS: dict[str, Any] = {
    "visibility_timeout": 60,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_connect_timeout": 1.0,
    "socket_timeout": 2.0,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
RABBITMQ_OPTIONS: dict[str, Any] = {"confirm_publish": True, "read_timeout": 20, "write_timeout": 20}


def use(app: Celery) -> None:
    """Gives a Celery app the defaults for broker, workers, queue and beat, and lets tasks keep their database
    connections."""
    kombu_redis.use()
    task_database.keep(app)
    app.on_after_configure.connect(_complete, weak=False)


def _defaults() -> dict[str, Any]:
    # What the app's own tasks need besides (late acknowledgement and so on) is set on them, so that the
    # site's tasks stay as they are.
    return {
        # Two sites on one broker have a queue each.
        "task_default_queue": f"{conf.KEY_PREFIX}celery",
        "broker_connection_timeout": 1.0,
        "broker_connection_max_retries": None,  # Celery's own 100 end a worker in a long outage
        "broker_connection_retry_on_startup": True,
        "broker_heartbeat": 10,
        "task_publish_retry": False,
        "worker_prefetch_multiplier": 1,
    }


def _quorum() -> dict[str, Any]:
    """With RabbitMQ's replicated queues. A message with a countdown waits in the broker then, not in a
    worker, for which the exchange has to be a topic."""
    name = f"{conf.KEY_PREFIX}celery-quorum"  # a queue or exchange that is there cannot change its type
    return {
        "task_default_queue": name,
        "task_default_exchange_type": "topic",
        "task_create_missing_queue_type": "quorum",
        "task_create_missing_queue_exchange_type": "topic",
    }


def _add(configured: Settings, defaults: dict[str, Any]) -> None:
    """Behind what the site has set, before Celery's own: `add_defaults` puts them before both."""
    maps: list[Any] = configured.maps or []
    maps.insert(len(maps) - 1, defaults)


def _complete(sender: Celery, **_: Any) -> None:
    """What depends on what the site has set."""
    configured = sender.conf
    if configured.task_default_queue_type == "quorum":
        _add(configured, _quorum())
    _add(configured, _defaults())
    scheme = urlsplit(str(configured.broker_url or "")).scheme
    own = REDIS_OPTIONS if scheme.startswith("redis") else RABBITMQ_OPTIONS if "amqp" in scheme else {}
    configured.broker_transport_options = _FAIL_AT_ONCE | own | (configured.broker_transport_options or {})
    scheduled = {entry["task"] for entry in configured.beat_schedule.values()}
    for task, seconds in SCHEDULE.items():
        if task not in scheduled:
            sender.add_periodic_task(seconds, sender.signature(task), name=task)
