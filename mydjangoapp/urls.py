"""The app's URLs; a site includes them where it likes: `path("", include("mydjangoapp.urls"))`."""

from django.urls import path

from .api import health, views

app_name = "mydjangoapp"

urlpatterns = [
    path("token/", views.TokenView.as_view(), name="token"),
    path("upload/", views.UploadView.as_view(), name="upload"),
    path("photos/<int:photo_id>/fanout/", views.FanOutView.as_view(), name="fanout"),
    path("livez/", health.livez, name="livez"),
    path("readyz/", health.ReadyView.as_view(), name="readyz"),
]
