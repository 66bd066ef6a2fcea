"""Signing up, logging in and out, and a new password: for sites that have no pages of their own for it.

Point `LOGIN_URL` at `mydjangoapp_accounts:login` and `LOGIN_REDIRECT_URL` at `mydjangoapp_web:home`.
"""

from django.urls import path

from .web import account

app_name = "mydjangoapp_accounts"

urlpatterns = [
    path("sign-up/", account.SignUpView.as_view(), name="sign-up"),
    path("login/", account.LoginView.as_view(), name="login"),
    path("logout/", account.LogoutView.as_view(), name="logout"),
    path("password/", account.PasswordView.as_view(), name="password"),
]
