"""`GET /feed/`: pages, cursors, and what is beside each photo."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from mydjangoapp import graph, likes, uploads
from mydjangoapp.homefeed import delivery, keys, reader, rebuild, scripts
from mydjangoapp.models import Photo
from proj.servers import free_port
from tests.test_feed_oracle import paged, truth_of

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")
People = Callable[[int], list[Any]]


def logged_in(user: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(user)
    return client


def publish(user: Any, number: int = 1) -> list[int]:
    made = [
        uploads.publish(user, description=f"no. {n}", photo_url="https://example.com/p.jpg")
        for n in range(number)
    ]
    return [photo.pk for photo in made]


def carry(photo: int, author: Any) -> None:
    """A fan-out in this process, to its end."""
    batch = delivery.claim(photo, author.pk, 0, redelivered=False, create=True)
    assert delivery.serve(photo, author.pk, batch, lambda link: True) is delivery.Status.ENDED


def ids_of(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [photo["id"] for photo in answer.json()["results"]]


@pytest.fixture
def pair(make_users: People) -> tuple[Any, Any]:
    """A reader and the author he follows."""
    me, author = make_users(2)
    graph.follow(me, author)
    return me, author


def test_an_entry_carries_its_author_likes_and_time(pair: tuple[Any, Any]) -> None:
    me, author = pair
    [photo] = publish(author)
    likes.like(me, photo)
    [entry] = logged_in(me).get("/feed/").json()["results"]
    assert entry.pop("created_at").endswith("Z")
    assert entry == {
        "id": photo,
        "user_id": author.pk,
        "description": "no. 0",
        "photo_url": "https://example.com/p.jpg",
        "author": {"id": author.pk, "username": author.username, "name": ""},
        "like_count": 1,
        "liked": True,
    }


def test_an_empty_feed_is_an_empty_page(make_users: People) -> None:
    [me] = make_users(1)
    page = logged_in(me).get("/feed/").json()
    assert (page["results"], page["next"]) == ([], None)
    [photo] = publish(me)
    assert ids_of(logged_in(me).get(page["previous"])) == [photo], "previous of nothing finds the first one"


def test_nobody_reads_without_logging_in_nor_anothers_feed(pair: tuple[Any, Any]) -> None:
    me, author = pair
    publish(author, 3)
    assert APIClient().get("/feed/").status_code == 401
    theirs = logged_in(me).get("/feed/?limit=1").json()["next"]
    answer = logged_in(author).get(theirs)
    assert answer.status_code == 400
    assert "cursor" in answer.json()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=²", "limit"),
        ("limit=0000000019999999", "limit"),
        ("limit=" + "9" * 5_000, "limit"),
        ("limit=", "limit"),
        ("cursor=", "cursor"),
        ("cursor=abc", "cursor"),
        ("cursor=MTA:1abc:xyz", "cursor"),
        ("newer_than=%00", "newer_than"),
        ("newer_than=7", "newer_than"),
    ],
)
def test_a_bad_parameter_is_named(query: str, field: str, api: APIClient) -> None:
    answer = api.get(f"/feed/?{query}")
    assert answer.status_code == 400
    assert list(answer.json()) == [field]


def test_both_directions_at_once_are_refused(api: APIClient, author: Any) -> None:
    publish(author, 2)
    page = api.get("/feed/?limit=1").json()
    both = page["next"] + "&" + page["previous"].split("&")[1]
    assert api.get(both).status_code == 400


def test_pages_are_filled_up_after_what_is_hidden(make_users: People) -> None:
    me, author, muted = make_users(3)
    for other in (author, muted):
        graph.follow(me, other)
    shown = publish(author, 6)
    for photo in publish(muted, 60):
        carry(photo, muted)
    graph.mute(me, muted)
    logged_in(me).get("/feed/")
    assert ids_of(logged_in(me).get("/feed/?limit=5")) == shown[:0:-1]


def test_a_cursor_survives_the_deletion_of_its_photo_a_trim_and_a_rebuild(
    pair: tuple[Any, Any], settings: Any, redis: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_LENGTH": 5}
    me, author = pair
    photos = publish(author, 8)
    client = logged_in(me)
    page = client.get("/feed/?limit=3").json()
    Photo.objects.get(id=photos[5]).delete()
    assert ids_of(client.get(page["next"]))[:2] == [photos[4], photos[3]]
    for photo in publish(author, 6):
        carry(photo, author)
    assert redis.llen(keys.homefeed(me.pk)) <= 6
    assert ids_of(client.get(page["next"]))[:2] == [photos[4], photos[3]]
    redis.delete(keys.homefeed(me.pk))
    client.get("/feed/")
    assert ids_of(client.get(page["next"]))[:2] == [photos[4], photos[3]]


def test_pages_while_uploads_go_on_have_no_double_and_no_gap(pair: tuple[Any, Any], settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_LENGTH": 10}
    me, author = pair
    before = publish(author, 30)
    client = logged_in(me)
    seen: list[int] = []
    url = "/feed/?limit=4"
    while url:
        page = client.get(url).json()
        seen += [photo["id"] for photo in page["results"]]
        for photo in publish(author, 3):
            carry(photo, author)
        url = page["next"]
    assert seen == before[::-1]


def test_what_came_in_on_top_is_fetched_without_a_gap(pair: tuple[Any, Any]) -> None:
    me, author = pair
    publish(author, 2)
    client = logged_in(me)
    url = client.get("/feed/?limit=4").json()["previous"]
    assert ids_of(client.get(url)) == []
    new = publish(author, 10)
    for photo in new:
        carry(photo, author)
    found: list[int] = []
    while page := client.get(url).json():
        if not page["results"]:
            break
        found = [photo["id"] for photo in page["results"]] + found
        assert len(page["results"]) <= 4
        url = page["previous"]
    assert found == new[::-1]
    assert client.get(url).json()["previous"], "and can be asked again later"


def test_a_hundred_first_readers_build_the_list_once(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, redis: Any
) -> None:
    me, author = pair
    photos = publish(author, 30)
    redis.delete(keys.homefeed(me.pk), keys.floor(me.pk))
    built: list[bool] = []
    build = rebuild.build

    def counted(user: Any, **how: bool) -> bool:
        built.append(build(user, **how))
        return built[-1]

    monkeypatch.setattr(rebuild, "build", counted)

    together = Barrier(100)

    def read(_: int) -> list[int]:
        together.wait(timeout=60)
        try:
            return ids_of(logged_in(me).get("/feed/?limit=7"))
        finally:
            database.close()

    with ThreadPoolExecutor(100) as threads:
        pages = list(threads.map(read, range(100)))
    assert pages == [photos[:-8:-1]] * 100
    assert built.count(True) == 1


def test_a_build_is_dropped_when_something_changes_meanwhile(
    pair: tuple[Any, Any], make_users: People, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A follow between the SQL snapshot and the swap: the list would lack the followee's photos."""
    me, author = pair
    [other] = make_users(1)
    publish(author, 3)
    theirs = publish(other, 2)
    swap = scripts.swap_build

    def late(*arguments: Any) -> Any:
        graph.follow(me, other)
        return swap(*arguments)

    monkeypatch.setattr(scripts, "swap_build", late)
    assert rebuild.build(me.pk) is False
    monkeypatch.undo()
    assert redis.get(keys.floor(me.pk)) is None
    assert ids_of(logged_in(me).get("/feed/?limit=2")) == theirs[::-1]


def test_a_photo_that_was_committed_after_the_snapshot_is_kept_by_the_swap(
    pair: tuple[Any, Any], redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, author = pair
    publish(author, 3)
    logged_in(me).get("/feed/")
    swap = scripts.swap_build
    new: list[int] = []

    def late(*arguments: Any) -> Any:
        new.extend(publish(author))
        carry(new[0], author)
        return swap(*arguments)

    monkeypatch.setattr(scripts, "swap_build", late)
    assert rebuild.build(me.pk, again=True) is True
    assert redis.lrange(keys.homefeed(me.pk), 0, 0) == [str(new[0]).encode()]


def test_a_list_that_is_gone_while_its_floor_is_there_is_not_an_empty_feed(
    pair: tuple[Any, Any], redis: Any
) -> None:
    me, author = pair
    old = publish(author, 3)
    client = logged_in(me)
    client.get("/feed/")
    redis.delete(keys.homefeed(me.pk))
    [new] = publish(author)
    carry(new, author)
    assert ids_of(client.get("/feed/")) == [new, *old[::-1]]


def test_an_old_photo_that_arrives_late_is_in_its_place_and_once(
    pair: tuple[Any, Any], settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_LENGTH": 3}
    me, author = pair
    photos = publish(author, 8)
    client = logged_in(me)
    client.get("/feed/")
    carry(photos[0], author)
    assert paged(client, 3) == photos[::-1]


def test_garbage_in_the_list_hurts_nobody(pair: tuple[Any, Any], redis: Any) -> None:
    me, author = pair
    photos = publish(author, 3)
    client = logged_in(me)
    client.get("/feed/")
    redis.lpush(keys.homefeed(me.pk), "abc", "", "-1", "9" * 15, 2**63, "9" * 60)
    assert ids_of(client.get("/feed/")) == photos[::-1]
    redis.delete(keys.homefeed(me.pk))
    redis.set(keys.homefeed(me.pk), "of a wrong type")
    assert ids_of(client.get("/feed/")) == photos[::-1]


def test_round_trips_and_queries_of_a_page(pair: tuple[Any, Any], make_users: People, redis: Any) -> None:
    """Warm: three round trips and no query. With the photos gone from the cache one query more, with
    everything gone one for each of photos, authors, relations and likes.
    As many with 61 followees as with one."""
    me, author = pair
    publish(author, 30)

    def cost() -> tuple[int, int]:
        reads = redis.info("stats")["total_reads_processed"]
        with CaptureQueriesContext(database) as queries:
            page = client.get("/feed/?limit=20")
        assert len(ids_of(page)) == 20
        return redis.info("stats")["total_reads_processed"] - reads - 1, len(queries)

    client = logged_in(me)
    cache_is_in_redis = "redis" in settings.CACHES["default"]["BACKEND"]
    trips = 3 if cache_is_in_redis else 1
    for followees in (0, 60):
        for other in make_users(followees):
            graph.follow(me, other)
            publish(other)
        client.get("/feed/")
        client.get("/feed/")
        assert cost() == (trips, 0)
        photos = Photo.objects.values_list("id", flat=True)
        cache.delete_many(keys.cached("photo", photos).values())
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


def test_one_author_does_not_flood_a_page(make_users: People, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "COLLAPSE_AUTHOR_AFTER": 2}
    me, one, other = make_users(3)
    for author in (one, other):
        graph.follow(me, author)
    first, flood, last = publish(one, 2), publish(other, 50), publish(one, 1)
    client = logged_in(me)
    page = client.get("/feed/?limit=2").json()
    assert [photo["id"] for photo in page["results"]] == [last[0], flood[-1]]
    more = page["results"][1]["more"]
    assert more["count"] == 49
    assert len(client.get(more["url"] + "?limit=100").json()["results"]) == 50
    assert ids_of(client.get(page["next"])) == first[::-1], "a run of as many as allowed stays as it is"


def test_changes_of_photo_and_author_are_shown_at_once(pair: tuple[Any, Any]) -> None:
    me, author = pair
    [photo] = publish(author)
    client = logged_in(me)
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


def test_a_row_that_was_read_before_a_change_does_not_come_back_into_the_cache(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race that deleting a cache entry would lose."""
    from mydjangoapp.homefeed import cached, rows

    _, author = pair
    [photo] = publish(author)
    load = rows.PHOTOS.load

    def slow(ids: list[int]) -> Any:
        found = load(ids)
        Photo.objects.get(id=photo).delete()
        return found

    slowly = cached.Kind("photo", slow, stamped=True)
    assert photo in cached.fetch((slowly, [photo]))[0], "read before it was deleted"
    assert cached.fetch((rows.PHOTOS, [photo])) == [{}]


def test_lists_of_people_who_stay_away_expire_and_come_back(
    pair: tuple[Any, Any], settings: Any, redis: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "INACTIVE_AFTER": 1000}
    me, author = pair
    first = publish(author, 2)
    for photo in first:
        carry(photo, author)
    assert not redis.exists(keys.homefeed(me.pk)), "nothing is pushed to somebody who has never read"
    client = logged_in(me)
    assert ids_of(client.get("/feed/")) == first[::-1]
    assert 0 < redis.ttl(keys.homefeed(me.pk)) <= 1000
    assert 0 < redis.ttl(keys.floor(me.pk)) <= 1000
    redis.expire(keys.homefeed(me.pk), 5)
    client.get("/feed/")
    assert redis.ttl(keys.homefeed(me.pk)) > 5, "reading prolongs it"
    [new] = publish(author)
    carry(new, author)
    assert redis.lindex(keys.homefeed(me.pk), 0) == str(new).encode(), "pushed to who reads"


def test_an_author_who_drops_under_pull_above_again_leaves_no_hole(
    pair: tuple[Any, Any], settings: Any, redis: Any
) -> None:
    from mydjangoapp import fanouts

    me, author = pair
    pushed = settings.MYDJANGOAPP
    photos = publish(author, 2)
    client = logged_in(me)
    client.get("/feed/")
    settings.MYDJANGOAPP = {**pushed, "PULL_ABOVE": 0}
    [pulled] = publish(author)
    fanouts.carry(pulled, author.pk, 0, redelivered=False, enqueue=lambda *_: True)
    assert str(pulled).encode() not in redis.lrange(keys.homefeed(me.pk), 0, -1)
    assert Photo.objects.get(id=pulled).fanout.state == "done"
    settings.MYDJANGOAPP = pushed
    [last] = publish(author)
    carry(last, author)
    assert ids_of(client.get("/feed/")) == [last, pulled, *photos[::-1]] == truth_of(me)


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


def test_writes_go_on_without_the_cache_that_counts_them(api: APIClient, settings: Any) -> None:
    place = re.sub(r":\d+", f":{free_port()}", settings.CACHES["default"]["LOCATION"])
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": place}}
    body = {"description": "d", "photo_url": "https://example.com/p.jpg"}
    answer = api.post("/upload/", body, format="json")
    assert answer.status_code == 201
    assert api.put(f"/photos/{answer.json()['id']}/like/").status_code == 204


def test_a_run_that_ends_a_page_is_gone_on_after(
    pair: tuple[Any, Any], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "COLLAPSE_AUTHOR_AFTER": 1}
    monkeypatch.setattr(reader, "LONGEST_RUN", 4)
    me, author = pair
    photos = publish(author, 10)
    client = logged_in(me)
    first = client.get("/feed/").json()
    assert [(one["id"], one["more"]["count"]) for one in first["results"]] == [(photos[-1], 3)]
    assert paged(client, 5, full=False) == [photos[-1], photos[-5], photos[-9]]
