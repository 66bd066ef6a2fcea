"""What a page costs, and that what is cached is never older than the last change."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from devtools.servers import free_port
from mydjangoapp import graph, likes, uploads
from mydjangoapp.homefeed import feeds_redis
from mydjangoapp.models import Photo
from mydjangoapp.photos import keys as cache_keys
from mydjangoapp.photos import kinds, row_cache, rows
from mydjangoapp.photos.recent import Recent
from tests import servers
from tests.feeds import People, ids_of, logged_in, paged, publish

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")


def test_round_trips_and_queries_of_a_page(pair: tuple[Any, Any], make_users: People) -> None:
    """Warm: two round trips and no query; three in a process that has to be told the photos' authors. Of a
    cluster one of them, to one node. With the photos gone from there and from the cache one query more, with
    everything gone one for each of photos, authors, relations and likes. As many with 61 followees as with
    one."""
    me, author = pair
    publish(author, 30)

    def reads_so_far() -> int:
        told: list[Any] = [node.info("stats") for node in feeds_redis.store().nodes()]
        return sum(stats["total_reads_processed"] for stats in told)

    def cost() -> tuple[int, int]:
        reads = reads_so_far()
        with CaptureQueriesContext(database) as queries:
            page = client.get("/feed/?limit=20")
        assert len(ids_of(page)) == 20
        return reads_so_far() - reads - len(feeds_redis.store().nodes()), len(queries)

    client = logged_in(me)
    # A cluster has no second database: the cache is elsewhere, and its trips are not counted.
    cache_is_in_redis = "redis" in settings.CACHES["default"]["BACKEND"] and "cluster" not in servers.ON
    trips = 2 if cache_is_in_redis else 1
    for followees in (0, 60):
        for other in make_users(followees):
            graph.follow(me, other)
            publish(other)
        client.get("/feed/")
        client.get("/feed/")
        assert cost() == (trips, 0)
        photos = Photo.objects.values_list("id", flat=True)
        kinds._recent.clear()
        assert cost() == (3 if cache_is_in_redis else 1, 0)
        cache.delete_many(cache_keys.cached("photo", photos).values())
        assert cost() == (trips, 0)
        kinds._recent.clear()
        assert cost()[1] == 1
        cache.clear()
        assert cost()[1] == 4
        assert cost() == (trips, 0)


def test_without_redis_the_feed_comes_from_sql(pair: tuple[Any, Any], settings: Any) -> None:
    me, author = pair
    photos = publish(author, 5)
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    assert paged(logged_in(me), 2) == photos[::-1]


def test_without_the_cache_the_feed_comes_from_sql(pair: tuple[Any, Any], settings: Any) -> None:
    me, author = pair
    photos = publish(author, 5)
    place = re.sub(r":\d+", f":{free_port()}", settings.CACHES["default"]["LOCATION"])
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": place}}
    assert paged(logged_in(me), 2) == photos[::-1]


def test_writes_go_on_without_the_cache_that_counts_them(api: APIClient, settings: Any) -> None:
    place = re.sub(r":\d+", f":{free_port()}", settings.CACHES["default"]["LOCATION"])
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": place}}
    body = {"description": "d", "photo_url": "https://example.com/p.jpg"}
    answer = api.post("/upload/", body, format="json")
    assert answer.status_code == 201
    assert api.put(f"/photos/{answer.json()['id']}/like/").status_code == 204


def test_changes_of_photo_and_author_are_shown_at_once(pair: tuple[Any, Any]) -> None:
    me, author = pair
    [photo] = publish(author)
    client = logged_in(me)
    client.get("/feed/")  # which builds the list
    client.get("/feed/")
    row = Photo.objects.get(id=photo)
    row.description = "corrected"
    row.save()
    author.first_name = "Ada"
    author.save()
    [entry] = client.get("/feed/").json()["results"]
    assert (entry["description"], entry["author"]["name"]) == ("corrected", "Ada")
    row.delete()
    assert ids_of(client.get("/feed/")) == []


def test_what_a_process_remembers_is_void_when_another_changes_it(pair: tuple[Any, Any]) -> None:
    me, author = pair
    [photo] = publish(author)
    client = logged_in(me)
    client.get("/feed/")  # which builds the list
    client.get("/feed/")
    assert kinds.recent(rows.PHOTOS, [photo])
    Photo.objects.filter(id=photo).update(description="from elsewhere")
    assert row_cache.changed("photo", photo), "as the other process does"
    assert client.get("/feed/").json()["results"][0]["description"] == "from elsewhere"


def test_what_a_process_remembers_goes_with_a_cache_that_is_emptied(pair: tuple[Any, Any]) -> None:
    """The stamp of a change is lost then: none must look as it did before the change."""
    me, author = pair
    [photo] = publish(author)
    client = logged_in(me)
    client.get("/feed/")  # which builds the list
    cache.clear()
    client.get("/feed/")
    assert kinds.recent(rows.PHOTOS, [photo])
    Photo.objects.filter(id=photo).update(description="from elsewhere")
    row_cache.changed("photo", photo)
    cache.clear()
    assert client.get("/feed/").json()["results"][0]["description"] == "from elsewhere"


def test_a_row_that_nobody_asks_for_is_forgotten() -> None:
    recent: Recent[int, str] = Recent(least=10)
    for number in range(100):
        recent.keep(number, str(number))
        assert recent.get(0) == "0"
    kept = [number for number in range(100) if recent.get(number)]
    assert kept[0] == 0 and set(kept) >= set(range(91, 100)) and len(kept) <= 20
    recent.forget(0)
    assert recent.get(0) is None


def test_a_row_that_was_read_before_a_change_does_not_come_back_into_the_cache(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race that deleting a cache entry would lose."""

    _, author = pair
    [photo] = publish(author)
    load = rows.PHOTOS.load

    def slow(ids: list[int]) -> Any:
        found = load(ids)
        Photo.objects.get(id=photo).delete()
        return found

    slowly = kinds.Kind("photo", slow)
    assert photo in row_cache.fetch((slowly, [photo]))[0], "read before it was deleted"
    assert row_cache.fetch((rows.PHOTOS, [photo])) == [{}]


def test_the_cache_keeps_whatever_djangos_own_keeps() -> None:
    cache.set_many({"none": None, "number": 7, "text": "seven", "tuple": (None, 7)})
    found = cache.get_many(["none", "number", "text", "tuple", "missing"])
    assert found == {"none": None, "number": 7, "text": "seven", "tuple": (None, 7)}


def test_a_changed_photo_keeps_what_others_counted_meanwhile(pair: tuple[Any, Any]) -> None:
    me, author = pair
    row = uploads.publish(author, description="d", photo_url="https://example.com/p.jpg")
    Photo.objects.filter(pk=row.pk).update(pulled=True)
    likes.like(me, row.pk)
    row.description = "corrected"
    row.save()
    row.refresh_from_db()
    assert (row.pulled, row.like_count, row.description) == (True, 1, "corrected")
    me.delete()
    row.refresh_from_db()
    assert row.like_count == 0, "the likes of a deleted user are gone"
