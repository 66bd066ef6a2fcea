"""What the app itself publishes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from devtools.servers import Server
from mydjangoapp import graph, likes, uploads
from mydjangoapp.events.transport import Consumer
from mydjangoapp.models import FanOut
from tests.checker import fill, wait_for_end
from tests.events.conftest import take, take_nothing
from tests.events.test_publishing import consumer_of
from tests.feeds import as_json

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def photos(redis: Any) -> Iterator[Consumer]:
    yield from consumer_of("photos")


@pytest.fixture
def relations(redis: Any) -> Iterator[Consumer]:
    yield from consumer_of("graph")


def test_the_app_publishes_what_happens_to_photos(photos: Consumer, author: Any) -> None:
    photo = uploads.publish(author, description="a cat", photo_url="https://example.com/p.jpg")
    likes.like(author, photo.pk)
    likes.like(author, photo.pk)
    likes.unlike(author, photo.pk)
    likes.unlike(author, photo.pk)
    photo_id = photo.pk
    photo.delete()
    taken = take(photos, 4)
    bodies = [(one.action, one.opened()) for one in taken]
    assert [name for name, _ in bodies] == [
        "photo.published",
        "photo.liked",
        "photo.unliked",
        "photo.deleted",
    ]
    published = bodies[0][1]
    assert published == {
        "id": photo_id,
        "user_id": as_json(author.pk),
        "circle_id": None,
        "description": "a cat",
        "photo_url": "https://example.com/p.jpg",
        "created_at": published["created_at"],
    }
    assert datetime.fromisoformat(published["created_at"]).tzinfo is not None
    assert {body["id"] for _, body in bodies} == {photo_id}
    assert bodies[1][1]["liked_by"] == bodies[2][1]["liked_by"] == as_json(author.pk)
    take_nothing(photos)


def test_the_app_publishes_when_a_fanout_has_finished(photos: Consumer, author: Any, worker: Server) -> None:
    fill(author.pk, 5)
    photo = uploads.publish(author, description="a cat", photo_url="https://example.com/p.jpg")
    assert wait_for_end(photo.pk, seconds=30) == "done"
    _, finished = take(photos, 2)
    assert finished.action == "fanout.finished"
    assert finished.opened()["id"] == photo.pk
    assert (finished.opened()["reached"], finished.opened()["user_id"]) == (5, as_json(author.pk))
    assert FanOut.objects.get(photo=photo).state == "done"


def test_the_app_publishes_who_follows_whom(relations: Consumer, make_users: Any) -> None:
    one, two, three = (as_json(user.pk) for user in make_users(3))
    graph.follow(one, two)
    graph.follow(one, two)
    graph.follow_many([one, three], two)
    graph.unfollow(one, two)
    graph.unfollow(one, two)
    graph.block(two, three)
    taken = [(each.action, each.opened()) for each in take(relations, 4)]
    assert taken == [
        ("user.followed", {"follower_id": one, "followee_id": two}),
        ("user.followed", {"follower_id": three, "followee_id": two}),
        ("user.unfollowed", {"follower_id": one, "followee_id": two}),
        ("user.unfollowed", {"follower_id": three, "followee_id": two}),
    ]
    take_nothing(relations)


def test_a_deleted_user_ends_his_likes_and_who_follows_whom(
    photos: Consumer, relations: Consumer, make_users: Any
) -> None:
    one, two, three = make_users(3)
    photo = uploads.publish(three, description="a cat", photo_url="https://example.com/p.jpg")
    likes.like(one, photo.pk)
    graph.follow(one, two)
    graph.follow(three, one)
    take(photos, 2)
    take(relations, 2)
    gone = as_json(one.pk)
    one.delete()
    assert [(each.action, each.opened()["liked_by"]) for each in take(photos, 1)] == [("photo.unliked", gone)]
    assert [each.opened() for each in take(relations, 2)] == [
        {"follower_id": gone, "followee_id": as_json(two.pk)},
        {"follower_id": as_json(three.pk), "followee_id": gone},
    ]
    take_nothing(photos)
    take_nothing(relations)
