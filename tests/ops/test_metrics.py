"""`GET /metrics`."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from devtools.servers import free_port
from mydjangoapp.events import publish
from mydjangoapp.events.registry import for_topic

pytestmark = pytest.mark.django_db(transaction=True)


def read(client: Client) -> dict[tuple[str, ...], float]:
    """Name and labels of each figure."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    return {
        (
            sample.name.removeprefix("mydjangoapp_"),
            *(sample.labels[name] for name in ("topic", "channel") if name in sample.labels),
        ): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def test_every_channel_has_its_figures(client: Client, redis: Any) -> None:
    transport = for_topic("orders")
    assert transport is not None
    transport.subscribe("orders", "mine")
    for _ in range(3):
        publish("orders", "order.paid", {})
    found = read(client)
    assert found["events_up",] == 1
    assert found["events_depth", "orders", "mine"] == found["events_lag", "orders", "mine"] == 3
    assert found["events_dead", "orders", "mine"] == 0
    assert 0 <= found["events_oldest_age", "orders", "mine"] < 60
    assert found["events_outbox",] == found["fanouts_failed",] == 0


def test_it_answers_while_redis_is_away(client: Client, redis: Any, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_URL": f"redis://127.0.0.1:{free_port()}/3"}
    publish("orders", "order.paid", {})
    found = read(client)
    assert found["events_up",] == 0
    assert found["events_outbox",] == 1
