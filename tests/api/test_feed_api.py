"""`GET /feed/`: pages, cursors, and what is beside each photo."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from mydjangoapp import graph, likes
from mydjangoapp.homefeed import keys
from mydjangoapp.models import Photo
from tests.feeds import People, as_json, carry, ids_of, logged_in, publish, username

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")


def test_an_entry_carries_its_author_likes_and_time(pair: tuple[Any, Any]) -> None:
    me, author = pair
    [photo] = publish(author)
    likes.like(me, photo)
    [entry] = logged_in(me).get("/feed/").json()["results"]
    assert entry.pop("created_at").endswith("Z")
    assert entry == {
        "id": photo,
        "user_id": as_json(author.pk),
        "circle_id": None,
        "description": "no. 0",
        "photo_url": "https://example.com/p.jpg",
        "alt_text": "",
        "width": None,
        "height": None,
        "placeholder": "",
        "sizes": [],
        "author": {"id": as_json(author.pk), "username": username(author), "name": ""},
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
