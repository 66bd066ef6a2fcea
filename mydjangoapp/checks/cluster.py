"""Feeds on a cluster: what cannot lie there, and which servers can be its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import current_app
from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from ..connections.redis_topology import is_cluster
from ..exceptions import BadSetting
from ..homefeed.feeds_redis import oldest_version, store
from .servers import asked

LOWEST = 7  # the first that lets a script write to any slot of its node


@register("mydjangoapp")
def cluster_has_what_it_needs(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """E012: a cluster cannot be Celery's broker. E013: a node is too old. A node that does not
    answer is passed over."""
    found: list[CheckMessage] = []
    if is_cluster(str(current_app.conf.broker_url or "")):
        found.append(
            Error(
                "Celery's broker is a Redis Cluster, for which Celery has no transport.",
                hint="Let it be RabbitMQ (amqp://…) or a single Redis (redis://host:6379/1).",
                id="mydjangoapp.E012",
            )
        )
    try:
        if not store().is_cluster:
            return found
    except BadSetting:  # another check names it
        return found
    version = asked(oldest_version)
    if version is not None and version[0] < LOWEST:
        found.append(
            Error(
                f"A node of the feeds' cluster is a Redis {'.'.join(map(str, version))}, whose scripts write "
                "to one slot only.",
                hint="Redis 7.0 and newer, or Valkey 8 and newer.",
                id="mydjangoapp.E013",
            )
        )
    return found
