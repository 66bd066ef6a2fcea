"""Pages, for users who are logged in by session."""

from django.urls import path

from .connections.requests import answering_when_away, with_views
from .web.trending import TrendingView

app_name = "mydjangoapp_web"

urlpatterns = with_views(
    answering_when_away,
    [path("circles/<int:circle_id>/trending/", TrendingView.as_view(), name="trending")],
)
