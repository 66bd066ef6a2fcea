"""Following, muting, blocking, profiles and lists of people over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from mydjangoapp import graph
from mydjangoapp.exceptions import Blocked
from mydjangoapp.homefeed import keys
from mydjangoapp.models import Block, Follow, Mute, PastFollow
from tests.feeds import as_json, at, ids_of, logged_in, publish, username

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")
People = Callable[[int], list[Any]]


@pytest.mark.parametrize(("verb", "model"), [("follow", Follow), ("mute", Mute), ("block", Block)])
def test_a_relation_is_made_and_ended_any_number_of_times(
    verb: str, model: Any, api: APIClient, author: Any, make_users: People
) -> None:
    [other] = make_users(1)
    url, profile = f"/users/{at(other)}/{verb}/", f"/users/{at(other)}/"
    word = {"follow": "following", "mute": "muted", "block": "blocked"}[verb]
    for _ in range(2):
        assert api.put(url).status_code == 204
        assert model.objects.count() == 1
        assert api.get(profile).json()[word] is True
    for _ in range(2):
        assert api.delete(url).status_code == 204
        assert model.objects.count() == 0
        assert api.get(profile).json()[word] is False


@pytest.mark.parametrize("verb", ["follow", "mute", "block"])
def test_what_cannot_be_is_refused(verb: str, api: APIClient, author: Any) -> None:
    answer = api.put(f"/users/{at(author)}/{verb}/")
    assert (answer.status_code, answer.json()) == (400, {"user_id": [f"You cannot {verb} yourself."]})
    for user in ("999999", "nobody", "9" * 40, "%00"):
        assert api.put(f"/users/{user}/{verb}/").status_code == 404
    assert APIClient().put(f"/users/{at(author)}/{verb}/").status_code == 401


def test_a_profile_shows_what_is_public_and_no_more(api: APIClient, make_users: People) -> None:
    [other] = make_users(1)
    assert api.get(f"/users/{at(other)}/").json() == {
        "id": as_json(other.pk),
        "username": username(other),
        "name": "",
        "following": False,
        "muted": False,
        "blocked": False,
    }


def test_lists_of_people_come_in_pages(api: APIClient, author: Any, make_users: People) -> None:
    others = make_users(5)
    for other in others:
        graph.follow(other, author)
    url = f"/users/{at(author)}/followers/?limit=2"
    found: list[int] = []
    while url:
        page = api.get(url).json()
        assert set(page) == {"results", "next", "previous"}
        found += [user["id"] for user in page["results"]]
        url = page["next"]
    assert found == [as_json(other.pk) for other in others[::-1]]
    [followee] = api.get(f"/users/{at(others[0])}/following/").json()["results"]
    assert followee["id"] == as_json(author.pk)
    assert api.get(f"/users/{at(author)}/followers/?cursor=abc").status_code == 400
    assert api.get(f"/users/{at(author)}/followers/?limit=0").status_code == 400


def test_a_follow_brings_older_photos_to_their_places_and_an_unfollow_takes_them_away(
    make_users: People,
) -> None:
    me, one, other = make_users(3)
    graph.follow(me, one)
    photos = [publish(author)[0] for author in (one, other, one, other)]
    client = logged_in(me)
    assert ids_of(client.get("/feed/")) == [photos[2], photos[0]]
    client.put(f"/users/{at(other)}/follow/")
    assert ids_of(client.get("/feed/")) == photos[::-1]
    client.delete(f"/users/{at(one)}/follow/")
    assert ids_of(client.get("/feed/")) == [photos[3], photos[1]]


def test_a_site_may_keep_what_was_there_before_an_unfollow(make_users: People, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "ON_UNFOLLOW": "keep"}
    me, other = make_users(2)
    client = logged_in(me)
    graph.follow(me, other)
    before = publish(other, 2)
    client.get("/feed/")
    graph.unfollow(me, other)
    between = publish(other, 2)
    assert ids_of(client.get("/feed/")) == before[::-1]
    graph.follow(me, other)
    assert ids_of(client.get("/feed/")) == [*between[::-1], *before[::-1]]
    graph.block(me, other)
    graph.unblock(me, other)
    assert ids_of(client.get("/feed/")) == []
    assert not PastFollow.objects.exists()


def test_a_mute_hides_and_an_unmute_shows_at_once(make_users: People) -> None:
    me, other = make_users(2)
    graph.follow(me, other)
    photos = publish(other, 3)
    client = logged_in(me)
    assert ids_of(client.get("/feed/")) == photos[::-1]
    client.put(f"/users/{at(other)}/mute/")
    assert ids_of(client.get("/feed/")) == []
    client.delete(f"/users/{at(other)}/mute/")
    assert ids_of(client.get("/feed/")) == photos[::-1]


def test_a_block_ends_following_both_ways_and_keeps_it_so(make_users: People, redis: Any) -> None:
    me, other = make_users(2)
    graph.follow(me, other)
    graph.follow(other, me)
    [theirs], [mine] = publish(other), publish(me)
    assert logged_in(me).put(f"/users/{at(other)}/block/").status_code == 204
    assert not Follow.objects.exists()
    assert redis.hlen(keys.marks(me.pk)) == redis.hlen(keys.marks(other.pk)) == 1, "gone in the lists too"
    assert ids_of(logged_in(me).get("/feed/")) == [mine]
    assert ids_of(logged_in(other).get("/feed/")) == [theirs]
    assert logged_in(me).put(f"/users/{at(other)}/follow/").status_code == 403, "unblock them first"
    assert logged_in(other).put(f"/users/{at(me)}/follow/").status_code == 404, "who blocks one is not there"
    for one, another in ((me, other), (other, me)):
        with pytest.raises(Blocked):
            graph.follow(one, another)
    assert logged_in(other).get(f"/photos/{mine}/").status_code == 404
    for page in ("", "photos/", "followers/", "following/"):
        assert logged_in(other).get(f"/users/{at(me)}/{page}").status_code == 404
    assert logged_in(me).get(f"/photos/{theirs}/").status_code == 200


def test_changes_are_limited_and_reading_is_not(api: APIClient, make_users: People, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "CHANGE_RATE": "2/min"}
    [other] = make_users(1)
    answers = [api.put(f"/users/{at(other)}/follow/").status_code for _ in range(3)]
    assert answers == [204, 204, 429]
    assert api.get(f"/users/{at(other)}/").status_code == 200


def test_a_block_cannot_be_found_out(make_users: People, redis: Any) -> None:
    """Whoever is blocked gets the same answers as if the user were not there, wherever they ask."""
    me, blocker, third = make_users(3)
    graph.follow(blocker, third)
    graph.follow(third, blocker)
    graph.follow(me, third)
    graph.block(blocker, me)
    client = logged_in(me)
    [nobody] = make_users(1)
    gone = at(nobody)
    nobody.delete()
    for page in ("", "photos/", "followers/", "following/"):
        answers = [client.get(f"/users/{user}/{page}") for user in (at(blocker), gone)]
        assert [one.status_code for one in answers] == [404, 404]
        assert answers[0].json() == answers[1].json()
    for verb in ("follow", "mute", "block"):
        for method in (client.put, client.delete):
            answers = [method(f"/users/{user}/{verb}/") for user in (at(blocker), gone)]
            assert [one.status_code for one in answers] == [404, 404], verb
    for page in ("followers", "following"):
        found = client.get(f"/users/{at(third)}/{page}/").json()["results"]
        assert as_json(blocker.pk) not in [user["id"] for user in found], page
    seen = logged_in(third).get(f"/users/{at(third)}/followers/").json()["results"]
    assert {user["id"] for user in seen} == {as_json(blocker.pk), as_json(me.pk)}, "only for the blocked"


def test_what_was_between_a_user_and_one_who_blocks_them_can_be_ended_unseen(make_users: People) -> None:
    """And they can be blocked back; the answer is the same as if nobody were there."""
    me, other = make_users(2)
    graph.mute(me, other)
    graph.block(other, me)
    client = logged_in(me)
    assert client.delete(f"/users/{at(other)}/mute/").status_code == 404
    assert not Mute.objects.exists()
    assert client.put(f"/users/{at(other)}/block/").status_code == 404
    assert Block.objects.filter(blocker=me, blocked=other).exists()
    assert client.delete(f"/users/{at(other)}/block/").status_code == 404
    assert not Block.objects.filter(blocker=me).exists()
    assert client.put(f"/users/{at(other)}/mute/").status_code == 404
    assert not Mute.objects.exists()
