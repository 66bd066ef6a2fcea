"""`manage.py check` names what is wrong, by an id that stays."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from celery import current_app
from django.core.checks import CheckMessage, run_checks
from django.db import models

from devtools.servers import free_port, wait_until
from mydjangoapp.checks import cluster, photo_model, servers
from mydjangoapp.exceptions import FeedError
from mydjangoapp.homefeed.feeds_redis import eviction_policy
from mydjangoapp.models import AbstractPhoto, Photo, photo_indexes


@pytest.fixture
def said(redis: Any, settings: Any) -> Any:
    """What `check` says with these settings: ids and texts."""

    def run(**values: Any) -> dict[str | None, str]:
        settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, **values}
        return {
            message.id: f"{message.msg} {message.hint or ''}" for message in run_checks(tags=["mydjangoapp"])
        }

    return run


def ids(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def test_a_path_that_cannot_be_imported(said: Any) -> None:
    messages = said(RANKING="shop.feeds.nothing")
    assert list(messages) == ["mydjangoapp.E006"]
    assert "RANKING" in messages["mydjangoapp.E006"]
    assert "shop.feeds.nothing" in messages["mydjangoapp.E006"]


def test_pages_without_what_they_need(said: Any, settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_htmx"]
    messages = said()
    assert list(messages) == ["mydjangoapp.E014"]
    assert "django_htmx" in messages["mydjangoapp.E014"]


def test_a_public_name_that_is_no_field(said: Any) -> None:
    messages = said(PUBLIC_NAME="shoe_size")
    assert list(messages) == ["mydjangoapp.E007"]
    assert "'shoe_size'" in messages["mydjangoapp.E007"]


def test_a_public_name_that_is_an_address(said: Any) -> None:
    assert list(said(PUBLIC_NAME="email")) == ["mydjangoapp.W003"]


def photo_models() -> dict[str, tuple[type[models.Model], list[str]]]:
    """Models as a site might write them, and what is wrong with each."""

    class Alien(models.Model):  # noqa: DJ008
        class Meta:
            app_label = "aliens"

    class ByName(AbstractPhoto):
        id = models.CharField(primary_key=True, max_length=9)  # type: ignore[assignment]

        class Meta:
            app_label = "aliens"

    class WithoutIndex(AbstractPhoto):
        class Meta:
            app_label = "aliens"
            indexes: ClassVar[list[models.Index]] = []

    class Sound(AbstractPhoto):
        class Meta:
            app_label = "aliens"
            indexes = photo_indexes("sound")

    return {
        "no AbstractPhoto": (Alien, ["mydjangoapp.E009"]),
        "ids by name": (ByName, ["mydjangoapp.E010"]),
        "no index": (WithoutIndex, ["mydjangoapp.W004", "mydjangoapp.W005"]),
        "no serializers": (Sound, ["mydjangoapp.W005"]),
    }


MODELS = photo_models()


@pytest.mark.parametrize("name", MODELS)
def test_a_photo_model_that_does_not_fit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, expected = MODELS[name]
    monkeypatch.setattr(photo_model, "get_photo_model", lambda: model)
    messages = photo_model.photo_model_fits(None)
    assert ids(messages) == expected
    assert all(message.hint and model._meta.label in message.msg for message in messages)


def test_the_apps_own_photo_model_fits() -> None:
    assert issubclass(Photo, AbstractPhoto)
    assert photo_model.photo_model_fits(None) == []


def test_a_beat_that_does_not_send_the_rescue(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said() == {}
    schedule = current_app.conf.beat_schedule
    [name] = [name for name, entry in schedule.items() if "rescue" in entry["task"]]
    monkeypatch.delitem(schedule, name)
    messages = said()
    assert list(messages) == ["mydjangoapp.W008"]
    assert "rescue_fanouts" in messages["mydjangoapp.W008"]


def test_a_cluster_is_no_broker(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis+cluster://127.0.0.1:7000/")
    messages = said()
    assert "mydjangoapp.E012" in messages
    assert "no transport" in messages["mydjangoapp.E012"]


def test_a_node_that_is_too_old(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them can be had here."""
    monkeypatch.setattr(cluster, "oldest_version", lambda: (6, 2, 14))
    messages = said(REDIS_URL=f"redis+cluster://127.0.0.1:{free_port()}/", EVENTS_URL="off")
    assert list(messages) == ["mydjangoapp.E013"]
    assert "6.2.14" in messages["mydjangoapp.E013"]


@contextmanager
def black_hole() -> Iterator[tuple[str, list[socket.socket]]]:
    """A Redis that takes connections and never answers: its URL, and the connections."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def take() -> None:
            while True:
                try:
                    taken.append(listening.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0", taken
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in taken:
                one.close()


def test_a_redis_that_never_answers_is_asked_once(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "PATIENCE", 0.05)
    with black_hole() as (url, taken):
        settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "REDIS_URL": url}
        assert run_checks(tags=["mydjangoapp"]) == []
        wait_until(lambda: bool(taken), seconds=10, what="it has been asked")
        assert len(taken) == 1, "and not again"
    with black_hole() as (url, taken):
        settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "REDIS_URL": url}
        with pytest.raises(FeedError):
            eviction_policy()
        assert len(taken) > 1, "without patience it is tried over and over: this test could not fail"
