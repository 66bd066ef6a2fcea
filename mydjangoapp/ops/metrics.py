"""`GET /metrics`: what Prometheus reads, by its own client library. Keep it inside, as `/readyz/`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict

from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ..events.registry import all_there_are
from ..exceptions import DATABASE_AWAY, FeedError
from ..fanout import progress
from ..models import Publication

logger = logging.getLogger(__name__)

CHANNEL = {
    "depth": "Messages that nobody has taken",
    "in_flight": "Messages taken and not finished",
    "deferred": "Messages that come again later",
    "dead": "Dead letters",
    "lag": "Messages that are not finished",
    "oldest_age": "Seconds since the oldest message that is not finished was published",
}


class Channels(Collector):
    """Every channel of every topic, looked up when asked."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("mydjangoapp_events_up", "Whether what carries events answers")
        gauges = {
            name: GaugeMetricFamily(f"mydjangoapp_events_{name}", said, labels=["topic", "channel"])
            for name, said in CHANNEL.items()
        }
        try:
            for transport in all_there_are():
                for one in transport.channels():
                    figures = asdict(one)
                    for name, gauge in gauges.items():
                        if figures[name] is not None:
                            gauge.add_metric([one.topic, one.channel], figures[name])
            up.add_metric([], 1)
        except FeedError as error:
            logger.warning("metrics of events: %s", error)
            up.add_metric([], 0)
        yield up
        yield from gauges.values()


class Ledger(Collector):
    """Fan-outs and the outbox, as SQL has them."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            figures = {
                "fanouts_failed": ("Fan-outs that were given up", progress.failed_ones()),
                "fanouts_longest_wait": ("Seconds that a fan-out has waited", progress.longest_wait()),
                "fanouts_longest_silence": ("Seconds of silence under way", progress.longest_silence()),
                "events_outbox": ("Rows that wait to be published", Publication.objects.count()),
            }
        except DATABASE_AWAY as error:
            logger.warning("metrics of the ledger: %s", error)
            return
        for name, (said, value) in figures.items():
            yield GaugeMetricFamily(f"mydjangoapp_{name}", said, value=value)


def metrics(request: HttpRequest) -> HttpResponse:
    """All of them, as text."""
    registry = CollectorRegistry()
    for collector in (Channels(), Ledger()):
        registry.register(collector)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
