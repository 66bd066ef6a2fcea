"""A token for a name and a password, for ever: only for sites whose log-in has no second factor and no
lock-out of its own that this would get around. Needs `rest_framework.authtoken` in INSTALLED_APPS."""

from django.urls import path

from .api.token import TokenView
from .connections.requests import answering_when_away, with_views

app_name = "mydjangoapp_token"

urlpatterns = with_views(answering_when_away, [path("token/", TokenView.as_view(), name="token")])
