"""INACTIVE_AFTER, PULL_ABOVE, COLLAPSE_AUTHOR_AFTER."""

from __future__ import annotations

from typing import Any

import pytest

from mydjangoapp import graph
from mydjangoapp.fanout import chain
from mydjangoapp.homefeed import keys, reader
from mydjangoapp.homefeed.delivery import Message
from mydjangoapp.models import FanOut
from tests.feeds import People, carry, ids_of, logged_in, paged, publish, truth_of

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")


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

    me, author = pair
    pushed = settings.MYDJANGOAPP
    photos = publish(author, 2)
    client = logged_in(me)
    client.get("/feed/")
    settings.MYDJANGOAPP = {**pushed, "PULL_ABOVE": 0}
    [pulled] = publish(author)
    chain.carry(Message(pulled, author.pk), lambda *_: True)
    assert str(pulled).encode() not in redis.lrange(keys.homefeed(me.pk), 0, -1)
    assert FanOut.objects.get(photo=pulled).state == "done"
    settings.MYDJANGOAPP = pushed
    [last] = publish(author)
    carry(last, author)
    assert ids_of(client.get("/feed/")) == [last, pulled, *photos[::-1]] == truth_of(me)


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
