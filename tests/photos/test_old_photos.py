"""Photos that were there before the feeds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command

from mydjangoapp import graph, uploads
from mydjangoapp.models import FanOut, Photo
from tests.feeds import ids_of, logged_in, publish, truth_of

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")

LONG_AGO = datetime(2015, 5, 17, 12, tzinfo=UTC)


def test_photos_keep_the_dates_they_are_saved_with(author: Any) -> None:
    photo = uploads.publish(author, description="x", photo_url="https://example.com", created_at=LONG_AGO)
    photo.refresh_from_db()
    assert photo.created_at == LONG_AGO


def test_old_photos_are_brought_along_without_delivery(pair: Any) -> None:
    me, author = pair
    graph.follow(me, author)
    publish(author)
    assert len(ids_of(logged_in(me).get("/feed/"))) == 1
    before = FanOut.objects.count()
    url = "https://example.com/old.jpg"
    dates = [LONG_AGO + timedelta(days=day) for day in range(3)]
    Photo.objects.bulk_create(
        [Photo(user=author, description="old", photo_url=url, created_at=at) for at in dates]
    )
    call_command("rebuild_homefeeds")
    assert FanOut.objects.count() == before, "nothing is delivered"
    answer = logged_in(me).get("/feed/")
    assert ids_of(answer) == truth_of(me)
    assert [one["created_at"][:10] for one in answer.json()["results"][:3]] == [
        f"{at:%Y-%m-%d}" for at in reversed(dates)
    ]
    call_command("verify_feeds")
