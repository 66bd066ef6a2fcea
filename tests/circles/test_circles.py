"""Circles: members, photos, the ranking of the day, and what Redis holds of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from devtools.servers import free_port, wait_until
from mydjangoapp import likes, uploads
from mydjangoapp.circles import keys, members, projection, rebuild
from mydjangoapp.circles.projection import Liked
from mydjangoapp.events import publish
from mydjangoapp.events.discovery import find
from mydjangoapp.events.message import now
from mydjangoapp.events.redis_streams.server import beside_the_feeds
from mydjangoapp.events.redis_streams.server import store as events_store
from mydjangoapp.events.registry import for_topic
from mydjangoapp.events.running import Runner
from mydjangoapp.exceptions import BadUpload, NotAMember
from mydjangoapp.models import Circle, Like, Photo
from tests import feeds

pytestmark = pytest.mark.django_db(transaction=True)

URL = "https://example.com/p.jpg"


@pytest.fixture
def circle(redis: Any, author: Any) -> Circle:
    """A circle that the author has made."""
    return members.create(author, name="Cats", description="and nothing else")


@pytest.fixture
def others(make_users: Callable[[int], list[Any]]) -> list[Any]:
    """Three users who are members of nothing."""
    return make_users(3)


def post(user: Any, circle: Any = None, description: str = "a cat") -> Any:
    return uploads.publish(user, description=description, photo_url=URL, circle=circle)


@pytest.fixture
def keep(redis: Any) -> Callable[[], None]:
    """Lets the worker of circles take what has been published."""
    kind = find("photos", "circles")

    def run() -> None:
        transport = for_topic("photos")
        assert transport is not None
        transport.subscribe("photos", "circles", from_beginning=kind.from_beginning)
        consumer = transport.consumer("photos", "circles", timeout=30)
        Runner(kind(), consumer).run(until_idle=0.2)
        assert not list(transport.dead_letters("photos", "circles"))

    return run


def members_of(redis: Any, key: str) -> dict[int, int]:
    return {int(photo): int(score) for photo, score in redis.zrange(key, 0, -1, withscores=True)}


def at(photo: Photo, when: datetime) -> None:
    """As if it had been posted then."""
    Photo.objects.filter(pk=photo.pk).update(created_at=when)


def test_who_makes_a_circle_is_its_first_member(api: APIClient, author: Any) -> None:
    made = api.post("/circles/", {"name": "Cats", "description": "and nothing else"}, format="json")
    assert made.status_code == 201
    assert {key: made.json()[key] for key in ("name", "description", "members", "member")} == {
        "name": "Cats",
        "description": "and nothing else",
        "members": 1,
        "member": True,
    }
    shown = api.get(f"/circles/{made.json()['id']}/").json()
    assert shown == made.json()
    assert api.get("/circles/").json() == {"results": [shown], "next": None, "previous": None}


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "name"), ({"name": ""}, "name"), ({"name": 5}, "name"), ({"name": "x" * 101}, "name")],
)
def test_a_bad_circle_is_refused_by_field(api: APIClient, body: dict[str, Any], field: str) -> None:
    refused = api.post("/circles/", body, format="json")
    assert (refused.status_code, list(refused.json())) == (400, [field])
    assert not Circle.objects.exists()


def test_joining_and_leaving_may_be_repeated(api: APIClient, others: list[Any]) -> None:
    made = members.create(others[0], name="Dogs")
    url = f"/circles/{made.pk}/"
    for call, number, member in ((api.put, 2, True), (api.delete, 1, False)):
        for _ in range(2):
            assert call(f"{url}membership/").status_code == 204
            assert (api.get(url).json()["members"], api.get(url).json()["member"]) == (number, member)
    assert api.put("/circles/999/membership/").status_code == 404
    assert api.delete("/circles/999/membership/").status_code == 404
    assert api.get("/circles/999/").status_code == 404


def test_only_members_post(api: APIClient, circle: Circle, others: list[Any]) -> None:
    body = {"description": "a cat", "photo_url": URL, "circle_id": circle.pk}
    posted = api.post("/upload/", body, format="json")
    assert (posted.status_code, posted.json()["circle_id"]) == (201, circle.pk)
    members.leave(circle.memberships.get().user, circle)
    refused = api.post("/upload/", body, format="json")
    assert (refused.status_code, "join it first" in refused.json()["detail"]) == (403, True)
    refused = api.post("/upload/", {**body, "circle_id": 999}, format="json")
    assert (refused.status_code, refused.json()) == (400, {"circle_id": ["There is no circle 999."]})
    for bad in ("x", 0, -1, 2**70, [1]):
        refused = api.post("/upload/", {**body, "circle_id": bad}, format="json")
        assert (refused.status_code, list(refused.json())) == (400, ["circle_id"])
    with pytest.raises(NotAMember):
        post(others[0], circle)
    with pytest.raises(BadUpload, match="There is no circle 999"):
        post(others[0], 999)
    assert Photo.objects.count() == 1


def test_feed_and_profile_show_the_circle(api: APIClient, circle: Circle, author: Any) -> None:
    inside, outside = post(author, circle), post(author)
    for url in ("/feed/", f"/users/{feeds.at(author)}/photos/"):
        shown = {one["id"]: one["circle_id"] for one in api.get(url).json()["results"]}
        assert shown == {inside.pk: circle.pk, outside.pk: None}
    assert api.get(f"/photos/{inside.pk}/").json()["circle_id"] == circle.pk


def test_a_circles_photos_are_paged_newest_first(api: APIClient, circle: Circle, author: Any) -> None:
    photos = [post(author, circle).pk for _ in range(5)]
    post(author)
    first = api.get(f"/circles/{circle.pk}/photos/?limit=3").json()
    second = api.get(first["next"]).json()
    assert [one["id"] for one in first["results"] + second["results"]] == photos[::-1]
    assert api.get("/circles/999/photos/").status_code == 404


def test_the_worker_keeps_what_redis_holds(
    redis: Any, keep: Callable[[], None], circle: Circle, author: Any, others: list[Any]
) -> None:
    members.join(others[0], circle)
    mine, theirs, outside = post(author, circle), post(others[0], circle), post(author)
    for user in others:
        likes.like(user, mine.pk)
    likes.like(author, theirs.pk)
    likes.unlike(author, theirs.pk)
    likes.like(others[1], theirs.pk)
    likes.like(others[1], outside.pk)
    keep()
    today = datetime.now(UTC).date().isoformat()
    assert members_of(redis, f"photos:{author.pk}") == {mine.pk: mine.pk, outside.pk: outside.pk}
    assert members_of(redis, f"circle:{circle.pk}:photos") == {mine.pk: mine.pk, theirs.pk: theirs.pk}
    assert members_of(redis, f"circle:{circle.pk}:photos:{others[0].pk}") == {theirs.pk: theirs.pk}
    assert members_of(redis, f"circle:{circle.pk}:hot:{today}") == {mine.pk: 4, theirs.pk: 2}
    assert 30 * 86_400 < redis.ttl(f"circle:{circle.pk}:hot:{today}") <= 31 * 86_400

    photo = mine.pk
    mine.delete()
    keep()
    assert photo not in members_of(redis, f"photos:{author.pk}")
    assert members_of(redis, f"circle:{circle.pk}:photos") == {theirs.pk: theirs.pk}
    assert members_of(redis, f"circle:{circle.pk}:hot:{today}") == {theirs.pk: 2}
    assert not redis.exists(f"circle:{circle.pk}:photos:{author.pk}")


def test_a_message_that_comes_twice_never_counts_twice(
    redis: Any, keep: Callable[[], None], circle: Circle, author: Any, others: list[Any]
) -> None:
    photo = post(author, circle)
    likes.like(others[0], photo.pk)
    keep()
    transport = for_topic("photos")
    assert transport is not None
    # As after a crash between the counting and the acknowledgement: everything comes again, as new.
    transport.unsubscribe("photos", "circles")
    events = events_store(transport.url).client()  # type: ignore[attr-defined]  # it is RedisStreams here
    events.delete("events:{photos}:circles:done")
    keep()
    assert members_of(redis, keys.hot(circle.pk, projection.today())) == {photo.pk: 2}


@pytest.mark.parametrize("order", list(permutations([(1, True), (1, False), (2, True)])))
def test_likes_count_the_same_in_whatever_order_they_come(
    redis: Any, circle: Circle, order: tuple[tuple[int, bool], ...]
) -> None:
    day = projection.today()
    for like, counts in order + order:
        projection.count_likes(circle.pk, day, [Liked(7, 1, like, counts)])
    projection.count_likes(circle.pk, day, [Liked(7, 2, 9, True)])
    assert members_of(redis, keys.hot(circle.pk, day)) == {7: 3}


def test_a_like_counts_on_the_day_it_was_given(
    redis: Any, keep: Callable[[], None], api: APIClient, circle: Circle, author: Any, others: list[Any]
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    old, new = post(author, circle), post(author, circle)
    likes.like(others[0], old.pk)
    likes.like(others[1], old.pk)
    at(old, yesterday)
    Like.objects.filter(user=others[0]).update(created_at=yesterday)
    call_command("rebuild_circles")
    url = f"/circles/{circle.pk}/hot/"
    shown = [(one["id"], one["score"]) for one in api.get(url).json()["results"]]
    assert shown == [(old.pk, 2), (new.pk, 1)]
    day = yesterday.date().isoformat()
    shown = [(one["id"], one["score"]) for one in api.get(f"{url}?day={day}").json()["results"]]
    assert shown == [(old.pk, 2)]


def test_hot_is_ordered_and_bounded(
    keep: Callable[[], None], api: APIClient, circle: Circle, author: Any, others: list[Any]
) -> None:
    photos = [post(author, circle) for _ in range(12)]
    likes.like(others[0], photos[3].pk)
    keep()
    page = api.get(f"/circles/{circle.pk}/hot/?limit=4").json()
    best = [photos[3].pk, photos[11].pk, photos[10].pk, photos[9].pk]
    assert [one["id"] for one in page["results"]] == best
    assert page["results"][0]["circle_id"] == circle.pk
    assert (page["next"], page["previous"]) == (None, None)


@pytest.mark.parametrize(
    "day", ["9999-12-31", "2026-W01-1", "x", "2026-13-01", "20260101", "2020-01-01", "", "2026-01-01T00"]
)
def test_a_bad_day_is_refused_by_field(api: APIClient, circle: Circle, day: str) -> None:
    refused = api.get(f"/circles/{circle.pk}/hot/", {"day": day})
    assert (refused.status_code, list(refused.json())) == (400, ["day"])


def test_hot_comes_from_sql_while_redis_is_away(
    api: APIClient, circle: Circle, author: Any, others: list[Any], settings: Any
) -> None:
    one, other = post(author, circle), post(author, circle)
    likes.like(others[0], one.pk)
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    shown = [(each["id"], each["score"]) for each in api.get(f"/circles/{circle.pk}/hot/").json()["results"]]
    assert shown == [(one.pk, 2), (other.pk, 1)]


def test_everything_is_built_anew_from_sql(
    redis: Any, keep: Callable[[], None], circle: Circle, author: Any, others: list[Any]
) -> None:
    photos = [post(author, circle) for _ in range(3)]
    likes.like(others[0], photos[0].pk)
    likes.like(others[1], photos[0].pk)
    post(others[0])
    keep()
    before = {
        key: redis.dump(key) for key in redis.scan_iter("*") if key.startswith((b"circle:", b"photos:"))
    }
    assert len(before) == 5
    redis.delete(*before)
    redis.zadd(keys.of_circle(circle.pk), {"999": 999})
    redis.zadd(keys.of_author(author.pk), {"999": 999})
    call_command("rebuild_circles")
    assert {key: redis.dump(key) for key in before} == before
    redis.zincrby(keys.hot(circle.pk, projection.today()), 5, str(photos[0].pk))
    call_command("rebuild_circles", "--circle", str(circle.pk))
    assert {key: redis.dump(key) for key in before} == before
    keep()
    assert {key: redis.dump(key) for key in before} == before, "likes that are still told are not new"
    with pytest.raises(CommandError, match="there is no circle with the id 999"):
        call_command("rebuild_circles", "--circle", "999")


def test_messages_wait_while_redis_is_away(
    redis: Any, keep: Callable[[], None], circle: Circle, author: Any, settings: Any
) -> None:
    photo = post(author, circle)
    here = settings.MYDJANGOAPP
    settings.MYDJANGOAPP = {
        **here,
        "EVENTS_URL": here.get("EVENTS_URL") or beside_the_feeds(),
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
    }
    keep()
    transport = for_topic("photos")
    assert transport is not None
    [waiting] = transport.channels()
    assert (waiting.deferred, waiting.dead) == (1, 0)
    settings.MYDJANGOAPP = here
    wait_until(
        lambda: keep() or photo.pk in members_of(redis, keys.of_circle(circle.pk)),  # type: ignore[func-returns-value]
        seconds=15,
        what="it has come again",
    )


def test_deleting_a_circle_keeps_its_photos(circle: Circle, author: Any) -> None:
    photo = post(author, circle)
    circle.delete()
    photo.refresh_from_db()
    assert photo.circle_id is None


def test_the_trending_page_shows_the_day(
    keep: Callable[[], None], client: Client, circle: Circle, author: Any, others: list[Any]
) -> None:
    first, second = post(author, circle, "<b>first</b>"), post(author, circle, "second")
    likes.like(others[0], first.pk)
    keep()
    url = f"/circles/{circle.pk}/trending/"
    assert client.get(url).status_code == 302, "log in first"
    client.force_login(author)
    page = client.get(url).content.decode()
    assert page.index("&lt;b&gt;first&lt;/b&gt;") < page.index("second")
    assert "score 2" in page
    assert "score 1" in page
    assert second.description in page
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    assert f"?day={yesterday}" in page
    assert "No photo was posted" in client.get(f"{url}?day={yesterday}").content.decode()
    for bad in ("nonsense", "9999-12-31"):
        assert client.get(f"{url}?day={bad}").status_code == 404


def ranked(client: Any, circle: Circle, limit: int = 20) -> list[tuple[int, int]]:
    answer = client.get(f"/circles/{circle.pk}/hot/?limit={limit}")
    assert answer.status_code == 200, answer.content
    return [(photo["id"], photo["score"]) for photo in answer.json()["results"]]


@pytest.mark.parametrize("loss", ["emptied", "restarted after a crash"])
def test_a_ranking_comes_back_by_itself(
    api: APIClient, circle: Circle, author: Any, others: list[Any], redis: Any, worker: Any, loss: str
) -> None:
    """Also what was lost in a crash although its message was acknowledged."""
    photos = [post(author, circle) for _ in range(3)]
    for user in others:
        likes.like(user, photos[0].pk)
    right = [(photos[0].pk, 4), (photos[2].pk, 1), (photos[1].pk, 1)]
    rebuild.rebuild(circle)
    assert projection.ranking(circle.pk, projection.today(), 20) == right
    if loss == "emptied":
        redis.flushdb()
    else:
        redis.zrem(keys.hot(circle.pk, projection.today()), str(photos[0].pk))
        redis.set(keys.complete(circle.pk), "the server that was")
    assert ranked(api, circle) == right, "from SQL meanwhile"
    wait_until(
        lambda: projection.ranking(circle.pk, projection.today(), 20) == right,
        seconds=30,
        what="a worker has made it anew",
    )
    assert ranked(api, circle) == right


def test_photos_of_an_author_come_back_with_their_next_one(
    circle: Circle, author: Any, redis: Any, worker: Any
) -> None:
    photos = [post(author, circle) for _ in range(3)]
    redis.flushdb()
    projection.add(photos[2].pk, author.pk, circle.pk, photos[2].created_at)
    wait_until(
        lambda: list(members_of(redis, keys.of_author(author.pk))) == [photo.pk for photo in photos],
        seconds=30,
        what="the list is whole again",
    )


def test_equal_scores_come_newest_first_where_ids_get_one_more_digit(circle: Circle, redis: Any) -> None:
    """Redis puts them in order by their text, so 9 came before 10 and pushed it off the page."""
    rebuild.rebuild(circle)
    day = projection.today()
    redis.zadd(keys.hot(circle.pk, day), {str(photo): 1 for photo in range(100, 1_400)})
    redis.zadd(keys.hot(circle.pk, day), {"5": 2})
    best = projection.ranking(circle.pk, day, 5)
    assert best == [(5, 2), (1_399, 1), (1_398, 1), (1_397, 1), (1_396, 1)]
    redis.zadd(keys.hot(circle.pk, day), {str(photo): 1 for photo in range(100, 4_000)})
    assert projection.ranking(circle.pk, day, 2) == [(5, 2), (3_999, 1)]


def test_a_photo_deleted_while_it_is_added_leaves_no_ghost(
    circle: Circle, author: Any, redis: Any, keep: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = post(author, circle)
    add, removed = projection.add, projection.remove

    def late(*arguments: Any) -> None:
        Photo.objects.filter(pk=photo.pk)._raw_delete("default")
        removed(photo.pk, author.pk, circle.pk)  # another process has handled the deletion
        add(*arguments)

    monkeypatch.setattr(projection, "add", late)
    keep()
    day = projection.today()
    made = [keys.of_author(author.pk), keys.of_circle(circle.pk), keys.hot(circle.pk, day)]
    assert [redis.zrange(key, 0, -1) for key in made] == [[], [], []]


def test_a_photo_deleted_while_its_circle_is_rebuilt_leaves_no_ghost(
    circle: Circle, author: Any, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = post(author, circle)
    add = rebuild._add_many

    def late(*arguments: Any) -> None:
        projection.remove(photo.pk, author.pk, circle.pk)
        Photo.objects.filter(pk=photo.pk).delete()
        add(*arguments)

    monkeypatch.setattr(rebuild, "_add_many", late)
    rebuild.rebuild(circle)
    assert projection.ranking(circle.pk, projection.today(), 5) == []


def test_a_deleted_circle_leaves_no_keys(
    circle: Circle,
    author: Any,
    others: list[Any],
    redis: Any,
    keep: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(projection, "AT_ONCE", 1)  # as many pages as photos
    photo = post(author, circle)
    for user in others:
        members.join(user, circle)
        post(user, circle)
    likes.like(others[1], photo.pk)
    keep()
    rebuild.rebuild(circle)
    gone = circle.pk
    assert redis.keys(f"circle:{gone}:*")
    circle.delete()
    assert not redis.keys(f"circle*:{gone}*")
    publish(
        "photos",
        "photo.liked",
        {"id": photo.pk, "circle_id": gone, "liked_by": 1, "like_id": 9, "liked_at": now()},
    )
    keep()
    assert not redis.keys(f"circle*:{gone}*"), "a late message does not bring them back"


def test_a_photo_whose_circle_is_gone_stays_with_its_author(
    circle: Circle, author: Any, redis: Any, keep: Callable[[], None]
) -> None:
    photo = post(author, circle)
    gone = circle.pk
    circle.delete()
    keep()  # its event is handled only now
    assert list(members_of(redis, keys.of_author(author.pk))) == [photo.pk]
    assert not redis.keys(f"circle*:{gone}*")


def test_members_are_counted_as_they_come_and_go(api: APIClient, circle: Circle, others: list[Any]) -> None:
    """And not at each look at the list of circles, which grew with them."""
    for user in others:
        members.join(user, circle)
        members.join(user, circle)
    members.leave(others[0], circle)
    others[1].delete()
    [shown] = api.get("/circles/").json()["results"]
    assert (shown["members"], shown["member"]) == (2, True)
    Circle.objects.bulk_create(Circle(name=f"no. {n}") for n in range(50))
    with CaptureQueriesContext(connection) as queries:
        api.get("/circles/?limit=50")
    asked = [query["sql"].upper() for query in queries if query["sql"].startswith("SELECT")]
    assert len(asked) == 2, "the token, and a page"
    assert "COUNT(" not in asked[-1]


def test_a_ranking_from_sql_looks_at_a_bounded_part_of_the_circle(
    circle: Circle, author: Any, redis: Any, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "AT_ONCE", 10)
    photos = [post(author, circle) for _ in range(15)]
    likes.like(author, photos[-1].pk)
    with django_assert_num_queries(2) as queries:
        found = projection.ranking_from_sql(circle.pk, projection.today(), 20)
    assert found[0] == (photos[-1].pk, 2)
    assert len(found) == 10, "of the newest"
    assert "LIMIT 10" in queries[0]["sql"]
