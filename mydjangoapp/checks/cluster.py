"""Feeds on a cluster: what has to lie elsewhere, and which servers can be its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import current_app
from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from ..conf import conf
from ..connections.redis_topology import is_cluster
from ..exceptions import BadSetting
from ..homefeed.feeds_redis import oldest_version, store
from .servers import asked

LOWEST = 7  # the first that lets a script write to any slot of its node


@register("mydjangoapp")
def cluster_has_what_it_needs(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """E011: a cluster has one database, so events need a place of their own. E012: a cluster cannot be
    Celery's broker. E013: a node is too old. Says nothing of nodes that cannot be asked."""
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
        is_at_feeds = store().is_cluster
        has_events = conf.EVENTS_URL is not None
    except BadSetting:  # another check names it
        return found
    if not is_at_feeds:
        return found
    if not has_events:
        found.append(
            Error(
                "MYDJANGOAPP['EVENTS_URL'] is not set, and database 3 of the feeds' Redis does not exist: "
                "that is a cluster.",
                hint="Name a single Redis (redis://host:6379/3), NSQ (nsq://…), or 'off'.",
                id="mydjangoapp.E011",
            )
        )
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
