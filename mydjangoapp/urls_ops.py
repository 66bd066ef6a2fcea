"""Health and metrics for operators. They need no log-in: do not expose them publicly."""

from django.urls import path

from .connections.requests import with_views, without_transaction
from .ops import health, metrics

app_name = "mydjangoapp_ops"

urlpatterns = with_views(
    without_transaction,  # they ask no database, or say themselves what is away
    [
        path("livez/", health.livez, name="livez"),
        path("metrics", metrics.metrics, name="metrics"),
        path("readyz/", health.ReadyView.as_view(), name="readyz"),
    ],
)
