"""Reading in Python and in templates; the site's own filter and order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template import Context, Template

from mydjangoapp import feeds, graph, likes
from mydjangoapp.homefeed import reader
from mydjangoapp.models import get_photo_model
from mydjangoapp.photos.rows import PhotoRow
from tests.feeds import carry, logged_in, paged, publish, truth_of

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")


def without_every_fifth(user_id: Any, photos: list[PhotoRow]) -> Iterable[int]:
    """A filter."""
    return [photo.id for photo in photos if photo.id % 5]


def most_liked_first(user_id: Any, entries: list[reader.Entry]) -> Iterable[reader.Entry]:
    """An order."""
    return sorted(entries, key=lambda entry: (-entry.photo.like_count, entry.photo.id % 7, -entry.photo.id))


def broken(user_id: Any, entries: list[reader.Entry]) -> Iterable[reader.Entry]:
    """An order with a mistake in it."""
    raise KeyError(user_id)


def the_best_three(user_id: Any, entries: list[reader.Entry]) -> Iterable[reader.Entry]:
    """An order that knows a part, and one of it twice."""
    best = sorted(entries, key=lambda entry: entry.photo.id % 3)[:3]
    return [*best, *best[:1]]


def published_and_carried(author: Any, number: int) -> list[int]:
    """Ids of new photos that are in the lists of their followers."""
    photos = publish(author, number)
    for photo in photos:
        carry(photo, author)
    return photos


def pages_of(user: Any, limit: int) -> list[int]:
    """Ids of the whole feed, by `feeds.page`."""
    ids, before = [], ""
    while True:
        page = feeds.page(user, limit=limit, before=before)
        ids += [entry.photo.pk for entry in page]
        if not page.before:
            return ids
        assert len(page) == limit, "pages are full"
        before = page.before


def test_a_page_has_the_photos_rows_and_leads_to_the_next(pair: Any) -> None:
    me, author = pair
    photos = publish(author, 7)
    likes.like(me, photos[6])
    page = feeds.page(me, limit=3)
    assert [entry.photo for entry in page] == [get_photo_model().objects.get(id=id_) for id_ in photos[:3:-1]]
    assert [entry.liked for entry in page] == [True, False, False]
    assert {entry.author.id for entry in page} == {author.pk}
    assert pages_of(me.pk, 3) == truth_of(me)
    assert [entry.photo.pk for entry in feeds.page(me, before=photos[2])] == photos[1::-1]
    assert feeds.page(me, before=photos[0]).before == ""


@pytest.mark.parametrize("before", ["x", "1.", "-4", "4.9", "9" * 30, "1..2"])
def test_what_is_no_place_is_refused(before: str, pair: Any) -> None:
    with pytest.raises(ValueError, match="is not a place in a feed"):
        feeds.page(pair[0], before=before)
    with pytest.raises(ValueError, match="from 1 to 200"):
        feeds.page(pair[0], limit=0)


def test_a_template_shows_a_page(pair: Any) -> None:
    me, author = pair
    photos = publish(author, 3)
    template = Template(
        "{% load homefeed %}{% home_feed user limit=2 before=before as page %}"
        "{% for entry in page %}{{ entry.photo.pk }} {% endfor %}{{ page.before }}"
    )
    newest, middle, oldest = photos[::-1]
    assert template.render(Context({"user": me})) == f"{newest} {middle} {middle}"
    assert template.render(Context({"user": me, "before": str(middle)})) == f"{oldest} "
    assert template.render(Context({"user": me, "before": "nonsense"})) == f"{newest} {middle} {middle}"
    assert template.render(Context({"user": AnonymousUser()})) == ""


def test_a_filter_leaves_out_and_the_page_is_filled_up(pair: Any, settings: Any) -> None:
    me, author = pair
    photos = publish(author, 30)
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "FEED_FILTER": "tests.test_feeds.without_every_fifth"}
    left = [id_ for id_ in reversed(photos) if id_ % 5]
    assert paged(logged_in(me), 4) == left
    assert pages_of(me, 7) == left
    newer = logged_in(me).get("/feed/?limit=50").json()["previous"]
    later = published_and_carried(author, 5)
    found = [one["id"] for one in logged_in(me).get(newer).json()["results"]]
    assert found == [id_ for id_ in reversed(later) if id_ % 5]


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 50])
def test_a_ranking_shows_each_photo_once_a_window_at_a_time(limit: int, pair: Any, settings: Any) -> None:
    me, author = pair
    photos = publish(author, 23)
    for photo in photos[::3]:
        likes.like(me, photo)
    settings.MYDJANGOAPP = {
        **settings.MYDJANGOAPP,
        "RANKING": "tests.test_feeds.most_liked_first",
        "RANKING_CANDIDATES": 10,
    }
    newest_first = photos[::-1]
    expected = []
    for window in (newest_first[:10], newest_first[10:20], newest_first[20:]):
        expected += sorted(window, key=lambda id_: (id_ not in photos[::3], id_ % 7, -id_))
    assert paged(logged_in(me), limit) == expected
    assert pages_of(me, limit) == expected


def test_nothing_is_lost_or_repeated_while_the_order_changes(pair: Any, settings: Any) -> None:
    me, author = pair
    settings.MYDJANGOAPP = {
        **settings.MYDJANGOAPP,
        "RANKING": "tests.test_feeds.most_liked_first",
        "RANKING_CANDIDATES": 6,
    }
    photos = published_and_carried(author, 20)
    seen: list[int] = []
    url = "/feed/?limit=2"
    while url:
        page = logged_in(me).get(url).json()
        seen += [one["id"] for one in page["results"]]
        likes.like(author, next((id_ for id_ in photos if id_ not in seen), photos[0]))
        url = page["next"]
    assert sorted(seen) == photos
    assert url is None
    deleted = seen[4]
    url = logged_in(me).get("/feed/?limit=4").json()["next"]
    get_photo_model().objects.get(id=deleted).delete()
    rest = []
    while url:
        page = logged_in(me).get(url).json()
        rest += [one["id"] for one in page["results"]]
        url = page["next"]
    assert len(set(rest)) == len(rest)
    assert deleted not in rest


def test_photos_that_come_in_on_top_are_found_beside_a_ranking(pair: Any, settings: Any) -> None:
    me, author = pair
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "RANKING": "tests.test_feeds.most_liked_first"}
    publish(author, 5)
    newer = logged_in(me).get("/feed/?limit=4").json()["previous"]
    assert logged_in(me).get(newer).json()["results"] == []
    later = published_and_carried(author, 3)
    assert [one["id"] for one in logged_in(me).get(newer).json()["results"]] == later[::-1]


@pytest.mark.parametrize("order", ["broken", "the_best_three"])
def test_an_order_that_fails_or_knows_a_part_loses_nothing(
    order: str, pair: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    me, author = pair
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "RANKING": f"tests.test_feeds.{order}"}
    photos = publish(author, 9)
    found = paged(logged_in(me), 4)
    assert sorted(found) == photos
    assert ("RANKING failed" in caplog.text) == (order == "broken")


def test_a_cursor_from_before_a_ranking_goes_on(pair: Any, settings: Any) -> None:
    me, author = pair
    photos = publish(author, 6)
    url = logged_in(me).get("/feed/?limit=2").json()["next"]
    without = dict(settings.MYDJANGOAPP)
    settings.MYDJANGOAPP = {**without, "RANKING": "tests.test_feeds.most_liked_first"}
    page = logged_in(me).get(url).json()
    assert {one["id"] for one in page["results"]} <= set(photos[:4])
    settings.MYDJANGOAPP = without
    rest = logged_in(me).get(page["next"]).json()["results"]
    shown = {one["id"] for one in page["results"]}
    assert {one["id"] for one in rest} == set(photos[:4]) - shown
    assert len(parse_qs(urlsplit(page["next"]).query)["cursor"][0]) < 200


def test_an_anonymous_user_has_an_empty_feed(db: Any) -> None:
    assert len(feeds.page(AnonymousUser())) == 0


def test_an_authors_fields_are_shown_anew(pair: Any, settings: Any) -> None:
    me, author = pair
    publish(author)
    settings.MYDJANGOAPP = {
        **settings.MYDJANGOAPP,
        "AUTHOR_SERIALIZER": "tests.test_feeds.number_of_followees",
    }
    reader_ = logged_in(me)
    assert reader_.get("/feed/").json()["results"][0]["author"] == {"id": author.pk, "follows": 0}
    graph.follow(author, me)
    feeds.author_changed(author)
    assert reader_.get("/feed/").json()["results"][0]["author"] == {"id": author.pk, "follows": 1}
    assert reader_.get(f"/users/{author.pk}/").json()["follows"] == 1
    assert reader_.get(f"/users/{me.pk}/followers/").json()["results"] == [{"id": author.pk, "follows": 1}]


def number_of_followees(user: Any) -> dict[str, int]:
    """What others see of a user."""
    from mydjangoapp.models import Follow

    return {"follows": Follow.objects.filter(follower=user).count()}
