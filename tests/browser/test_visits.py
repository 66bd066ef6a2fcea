"""What people do with the pages, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devtools import scenery
from devtools.servers import wait_until
from mydjangoapp import graph
from mydjangoapp.models import Block, CircleMembership, FanOut, Follow, Like, Photo, Picture
from tests.browser.conftest import MAX_LENGTH, PASSWORD, PHONE, Visitor
from tests.feeds import publish

Visitors = Callable[..., Visitor]


@pytest.fixture
def picture_file(tmp_path: Path) -> str:
    file = tmp_path / "scene.jpg"
    file.write_bytes(scenery.draw(1).body)
    return str(file)


def until_delivered() -> None:
    wait_until(
        lambda: not FanOut.objects.exclude(state="done").exists(), seconds=60, what="the photos are delivered"
    )


def until_made() -> None:
    wait_until(
        lambda: not Picture.objects.filter(sizes__isnull=True).exists(), seconds=60, what="the sizes are made"
    )


def test_from_signing_up_to_a_photo_in_a_followers_feed(visitors: Visitors, picture_file: str) -> None:
    """Two people: one signs up and posts, the other finds them, likes the photo, and sees it go."""
    ada, ben = visitors(), visitors("ben")
    page = ada.open("/")
    page.get_by_role("link", name="Sign up").click()
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password:", exact=True).fill(PASSWORD)
    page.get_by_label("Password confirmation").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    page.get_by_role("heading", name="People to follow").wait_for()
    theirs = ben.open("/people/")
    theirs.get_by_role("button", name="Follow ada").click()
    theirs.get_by_role("button", name="Following ada").wait_for()
    assert Follow.objects.count() == 1

    page.get_by_role("link", name="New photo").click()
    assert page.get_by_role("img", name="The photo that you have chosen").count() == 0
    page.get_by_label("Photo:").set_input_files(picture_file)
    preview = page.get_by_role("img", name="The photo that you have chosen")
    preview.wait_for()
    wait_until(lambda: bool(preview.evaluate("img => img.naturalWidth")), seconds=10, what="it is shown")
    page.get_by_label("Description").fill("Hills at noon")
    page.get_by_label("What the picture shows").fill("A sun over hills")
    page.get_by_role("button", name="Post").click()
    page.get_by_text("on its way to your followers").wait_for()
    until_delivered()
    until_made()

    theirs = ben.open("/")
    photo = theirs.get_by_role("img", name="A sun over hills")
    photo.wait_for()
    wait_until(
        lambda: bool(photo.evaluate("img => img.complete && img.naturalWidth")),
        seconds=20,
        what="it is loaded",
    )
    assert str(photo.evaluate("img => img.currentSrc")).endswith(".avif")
    like = theirs.get_by_role("button", name="Like")
    like.click()
    theirs.locator("[aria-pressed=true]").get_by_text("1").wait_for()
    assert Like.objects.count() == 1
    assert theirs.evaluate("document.activeElement.id").startswith("like-"), "it has not lost the focus"

    page = ada.open("/")
    assert page.get_by_role("button", name="Like").inner_text().strip().endswith("1")
    page.get_by_role("link", name="ago").or_(page.get_by_role("link", name="just now")).click()
    page.get_by_text("Delete this photo").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("The photo is deleted.").wait_for()
    assert ben.open("/").get_by_text("Hills at noon").count() == 0


def test_the_feed_goes_on_across_the_lists_floor_to_the_very_end(visitors: Visitors) -> None:
    me, author = visitors("me"), visitors("author")
    graph.follow(me.user, author.user)
    number = 3 * MAX_LENGTH + 5
    ids = publish(author.user, number)
    until_delivered()
    page = me.open("/")
    shown = page.locator("article")

    def is_at_the_end() -> bool:
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        return bool(page.get_by_text("That is all.").count() == 1)

    wait_until(is_at_the_end, seconds=60, what="the feed has ended")
    assert shown.evaluate_all("all => all.map(one => Number(one.id.slice(6)))") == ids[::-1]


def test_what_is_wrong_with_an_upload_is_said_where_it_is(visitors: Visitors, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture at all")
    page = visitors("me").open("/new/")
    page.get_by_label("Description").fill("x")
    page.get_by_role("button", name="Post").click()
    page.get_by_text("Choose a photo, or give its address; not both.").wait_for()
    assert page.evaluate("document.activeElement.name") == "image", "the field that is wrong"
    page.get_by_label("Photo:").set_input_files(str(bad))
    page.get_by_role("button", name="Post").click()
    page.get_by_text("This is not a readable JPEG, PNG or WebP image.").wait_for()
    field = page.get_by_label("Photo:")
    said = str(field.get_attribute("aria-describedby")).split()
    assert any("not a readable" in page.locator(f"#{one}").inner_text() for one in said)
    assert page.get_by_label("Description").input_value() == "x", "what was right is still there"
    assert not Photo.objects.exists()


def test_circles(visitors: Visitors) -> None:
    me, other = visitors("me"), visitors("other", viewport=PHONE, is_mobile=True, has_touch=True)
    page = me.open("/c/")
    page.get_by_role("link", name="New circle").click()
    page.get_by_label("Name").fill("Birds")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("heading", name="Birds").wait_for()
    page.get_by_role("link", name="Post into this circle").click()
    page.get_by_label("Or its address").fill(f"{me.site}/static/mydjangoapp/icons.svg")
    page.get_by_label("Description").fill("A robin")
    page.get_by_role("button", name="Post").click()
    page.get_by_text("on its way").wait_for()
    page = other.open("/c/")
    page.get_by_role("button", name="Join Birds").tap()
    page.get_by_role("button", name="Leave Birds").wait_for()
    assert CircleMembership.objects.filter(user=other.user).exists()
    page.get_by_role("link", name="Birds 1 member").tap()
    page.get_by_text("A robin").wait_for()
    page.get_by_role("link", name="Trending today").tap()
    page.get_by_role("heading", name="Trending in Birds").wait_for()


def test_a_block_hides_at_once(visitors: Visitors) -> None:
    me, other = visitors("me"), visitors("other")
    graph.follow(me.user, other.user)
    publish(other.user)
    until_delivered()
    page = me.open("/")
    assert page.locator("article").count() == 1
    page.get_by_role("link", name="other").click()
    page.get_by_role("button", name="Block").click()
    page.get_by_role("button", name="Unblock").wait_for()
    assert Block.objects.exists()
    assert me.open("/").locator("article").count() == 0
    answer = other.page.goto(f"{other.site}/u/{me.user.pk}/")
    assert answer is not None and answer.status == 404
    other.complaints.clear()  # the browser notes the 404


def test_by_keyboard_alone(visitors: Visitors) -> None:
    me, author = visitors("me"), visitors("author")
    graph.follow(me.user, author.user)
    publish(author.user)
    until_delivered()
    page = me.open("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(3):  # author, time, like
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id").startswith("like-")
    page.keyboard.press("Space")
    page.locator("[aria-pressed=true]").wait_for()
    assert page.evaluate("document.activeElement.id").startswith("like-")
    page.keyboard.press("Space")
    page.locator("[aria-pressed=false]").wait_for()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", "one sees where"


def test_without_javascript(visitors: Visitors, picture_file: str) -> None:
    me, author = visitors("me", java_script_enabled=False), visitors("author")
    page = me.open("/people/")
    page.get_by_role("button", name="Follow author").click()
    assert Follow.objects.exists()
    publish(author.user, 25)
    until_delivered()
    page = me.open("/")
    assert page.locator("article").count() == 20
    page.get_by_role("link", name="Older photos").click()
    assert page.locator("article").count() == 5
    page.get_by_role("button", name="Like").first.click()
    assert Like.objects.exists()
    page = me.open("/new/")
    page.get_by_label("Photo:").set_input_files(picture_file)
    page.get_by_label("Description").fill("by hand")
    page.get_by_role("button", name="Post").click()
    page.get_by_text("on its way").wait_for()
    until_made()
    photo = me.open("/").get_by_role("img", name="Photo by me")
    assert photo.count() == 1
    page.screenshot()


def test_times_are_in_words_with_the_exact_one_on_hover(visitors: Visitors) -> None:
    me: Any = visitors("me")
    publish(me.user)
    page = me.open("/")
    time = page.locator("article time")
    assert time.inner_text() == "just now"
    assert len(time.get_attribute("title")) > 10
