"""The OpenAPI schema of the site's API, and a page to try it on; by drf-spectacular, whose settings count."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

app_name = "mydjangoapp_docs"

urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", SpectacularSwaggerSplitView.as_view(url="../schema/"), name="docs"),
]
