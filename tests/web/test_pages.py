"""Pages as a browser without JavaScript has them: links to follow and forms to send."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from mydjangoapp import graph, likes, pictures, uploads
from mydjangoapp.circles import members
from mydjangoapp.models import Block, CircleMembership, Follow, Like, Mute, Photo, Picture
from mydjangoapp.web import fragments
from tests.feeds import fields_of, publish
from tests.photos.test_image_upload import picture

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def browser(user: Any = None) -> Client:
    """Checks forms as it checks a real one's."""
    client = Client(enforce_csrf_checks=True)
    if user is not None:
        client.force_login(user)
    return client


def url(name: str, *arguments: Any) -> str:
    return reverse(f"mydjangoapp_web:{name}", args=arguments)


def get(client: Client, path: str) -> str:
    answer: Any = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code, answer.content[:500])
    return str(answer.content.decode())


def send(client: Client, path: str, form: str, **fields: Any) -> Any:
    """Sends the form of that page whose action ends so, with its hidden fields."""
    page = get(client, path)
    forms = re.findall(r"<form[^>]*method=\"post\"[^>]*>.*?</form>", page, re.S)
    actions = [(re.search(r'action="([^"]*)"', text), text) for text in forms]
    [(action, text), *_] = [
        (found.group(1) if found else path, text)
        for found, text in actions
        if (found.group(1) if found else path).endswith(form)
    ]
    hidden = {}
    for tag in re.findall(r'<input type="hidden"[^>]*>', text):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        assert name
        hidden[name.group(1)] = unescape(value.group(1)) if value else ""
    return client.post(unescape(action), {**hidden, **fields})


def press(client: Client, path: str, action: str, **fields: Any) -> Any:
    """Presses the button of that page whose action ends so."""
    page = get(client, path)
    [button] = [tag for tag in re.findall(r"<button[^>]*>", page) if f'{action}" name=' in tag]
    found = {name: unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', button)}
    form = re.search(rf'<form id="{found["form"]}".*?</form>', page, re.S)
    assert form
    hidden = {
        name: unescape(value) for name, value in re.findall(r'name="([^"]*)" value="([^"]*)"', form.group())
    }
    return client.post(found["formaction"], {**hidden, found["name"]: found["value"], **fields})


def test_a_stranger_is_asked_to_log_in(author: Any) -> None:
    for path in ("/", "/new/", "/people/", "/c/", "/settings/", "/settings/my-data.json", f"/u/{author.pk}/"):
        answer = browser().get(path)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/accounts/login/?next=")


def test_every_page_of_an_empty_site_says_what_to_do(author: Any) -> None:
    client = browser(author)
    assert "Find people to follow" in get(client, "/")
    assert "nobody left to follow" in get(client, "/people/")
    assert "Make the first one" in get(client, "/c/")
    assert "You have not posted anything yet" in get(client, url("profile", author.pk))


def test_signing_up_logging_out_and_in_again() -> None:
    client = browser()
    refused = send(client, "/accounts/sign-up/", "/sign-up/", username="ada", password1="x", password2="y")
    assert refused.status_code == 200
    assert "errorlist" in refused.content.decode()
    passwords = {"password1": "correct horse 9", "password2": "correct horse 9"}
    assert send(client, "/accounts/sign-up/", "/sign-up/", username="ada", **passwords).status_code == 302
    assert get_user_model().objects.get().get_username() == "ada"
    assert "Find people to follow" in get(client, "/"), "logged in at once"
    assert send(client, "/settings/", "/logout/").status_code == 302
    assert client.get("/").status_code == 302
    answer = send(client, "/accounts/login/?next=/people/", "next=/people/", username="ada", password="wrong")
    assert "errorlist" in answer.content.decode()
    answer = send(
        client, "/accounts/login/?next=/people/", "next=/people/", username="ada", password="correct horse 9"
    )
    assert answer.headers["Location"] == "/people/"
    new = {"new_password1": "battery staple 7", "new_password2": "battery staple 7"}
    answer = send(client, "/accounts/password/", "/password/", old_password="correct horse 9", **new)
    assert answer.headers["Location"] == "/settings/"


def test_the_whole_feed_page_by_page(pair: tuple[Any, Any]) -> None:
    me, author = pair
    ids = publish(author, 45)
    client, path, seen = browser(me), "/", list[int]()
    while path:
        page = get(client, path)
        seen += [int(number) for number in re.findall(r'id="photo-(\d+)"', page)]
        older = re.search(r'rel="next" href="([^"]*)"', page)
        path = unescape(older.group(1)) if older else ""
    assert seen == ids[::-1]
    assert "That is all." in page
    part = client.get(f"/?before={ids[30]}", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part
    assert re.findall(r'id="photo-(\d+)"', part)[0] == str(ids[29])
    restored = client.get("/", headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert b"<html" in restored.content
    assert get(client, "/?before=nonsense"), "the top"


def test_a_photo_is_uploaded_and_shown_with_its_sizes(author: Any) -> None:
    client = browser(author)
    file = SimpleUploadedFile("holiday.jpg", picture("JPEG", (800, 600)), "image/jpeg")
    fields = {"description": "Snow & <ice>", "alt_text": "A dog", "image": file}
    answer = send(client, "/new/", "/new/", **fields)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    photo = Photo.objects.get()
    page = get(client, "/")
    assert "on its way to your followers" in page
    assert "Snow &amp; &lt;ice&gt;" in page
    assert "being prepared" in page
    assert str(photo.image.name) not in page, "the original is never sent"
    assert Picture.objects.get().placeholder in unescape(page)
    pictures.make(photo.pk, 0)
    page = get(client, "/")
    assert re.search(
        r'<source type="image/avif" srcset="/media/\S+/320.avif 320w, /media/\S+640.avif 640w', page
    )
    assert re.search(r'<img src="/media/\S+/320.webp" width="800" height="600" alt="A dog"', page)
    assert str(photo.image.name) not in page


def test_what_is_wrong_with_an_upload_is_said_beside_the_field(author: Any) -> None:
    client = browser(author)
    url_of = "https://example.com/p.jpg"
    bad: list[dict[str, Any]] = [
        {"description": "x"},
        {"description": "", "photo_url": url_of},
        {"description": "x", "photo_url": "javascript:alert(1)"},
        {"description": "x", "image": SimpleUploadedFile("a.jpg", b"no picture")},
        {"description": "x", "photo_url": url_of, "image": SimpleUploadedFile("a.jpg", picture())},
    ]
    for fields in bad:
        answer = send(client, "/new/", "/new/", **fields)
        page = answer.content.decode()
        assert answer.status_code == 422
        assert re.search(r'<ul class="errorlist"[^>]*>.*?aria-invalid="true"', page, re.S), fields
    assert not Photo.objects.exists()


def test_a_form_that_is_sent_twice_publishes_once(author: Any) -> None:
    client = browser(author)
    page = get(client, "/new/")
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page))
    for _ in range(2):
        fields = {"description": "x", "photo_url": "https://example.com/p.jpg"}
        assert client.post("/new/", {**hidden, **fields}).status_code == 302
    assert Photo.objects.count() == 1


def test_a_photo_is_made_into_html_once_for_all_its_readers(
    pair: tuple[Any, Any], make_users: Any, settings: Any
) -> None:
    me, author = pair
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch")]
    [other] = make_users(1)
    graph.follow(other, author)
    [photo] = publish(author)
    fragments._entry.cache_clear()

    def shown(user: Any, **headers: str) -> tuple[str, int]:
        before = fragments._entry.cache_info().misses
        page = browser(user).get("/", headers=headers).content.decode()
        [article] = re.findall(r"<article.*?</article>", page, re.S)
        return article, fragments._entry.cache_info().misses - before

    first, made = shown(me)
    assert made == 1
    assert shown(other) == (first, 0)
    assert shown(me, accept_language="de")[1] == 1, "in another language"
    likes.like(me, photo)
    liked, made = shown(me)
    assert made == 1
    assert 'aria-pressed="true"' in liked
    theirs, made = shown(other)
    assert made == 1
    assert 'aria-pressed="false"' in theirs
    assert '<span class="count">1</span>' in theirs
    author.first_name = "Ada"
    author.save()
    assert "Ada" in shown(other)[0]
    assert 'name="csrfmiddlewaretoken"' not in first, "nothing of a reader's is kept"


def test_likes(pair: tuple[Any, Any]) -> None:
    me, author = pair
    [photo] = publish(author)
    client = browser(me)
    answer = press(client, "/", f"/p/{photo}/like/")
    assert answer.headers["Location"] == "/"
    assert Like.objects.filter(user=me, photo=photo).exists()
    assert 'aria-pressed="true"' in get(client, f"/p/{photo}/")
    press(client, f"/p/{photo}/", f"/p/{photo}/like/")
    assert not Like.objects.exists()


def test_a_form_leads_to_this_site_only(pair: tuple[Any, Any]) -> None:
    me, author = pair
    [photo] = publish(author)
    for foreign in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        answer = press(browser(me), "/", f"/p/{photo}/like/", next=foreign)
        assert answer.headers["Location"] == "/"


def test_only_its_author_deletes_a_photo(pair: tuple[Any, Any]) -> None:
    me, author = pair
    [photo] = publish(author)
    assert "Delete this photo" not in get(browser(me), f"/p/{photo}/")
    client = browser(me)
    get(client, "/")
    token = client.cookies["csrftoken"].value
    assert client.post(f"/p/{photo}/delete/", {"csrfmiddlewaretoken": token}).status_code == 403
    assert send(browser(author), f"/p/{photo}/", "/delete/").status_code == 302
    assert not Photo.objects.exists()


def test_follow_mute_and_block_and_their_undo(make_users: Any) -> None:
    me, other = make_users(2)
    [photo] = publish(other)
    client, profile = browser(me), url("profile", other.pk)
    assert send(client, "/people/", f"/u/{other.pk}/follow/").headers["Location"] == "/people/"
    assert Follow.objects.filter(follower=me, followee=other).exists()
    assert f'id="photo-{photo}"' in get(client, "/")
    for name, model in (("mute", Mute), ("block", Block)):
        assert send(client, profile, f"/{name}/").headers["Location"] == profile
        assert model.objects.exists()
        assert f'id="photo-{photo}"' not in get(client, "/")
        send(client, profile, f"/{name}/")
        assert not model.objects.exists()
    assert not Follow.objects.exists(), "a block ends it"


def test_a_user_who_blocks_the_reader_is_not_there(make_users: Any) -> None:
    me, other = make_users(2)
    [photo] = publish(other)
    graph.block(other, me)
    client = browser(me)
    get(client, "/c/")
    get(client, "/settings/")
    token = client.cookies["csrftoken"].value
    profile = url("profile", other.pk)
    assert client.get(profile).status_code == client.get(f"/p/{photo}/").status_code == 404
    follow = client.post(f"{profile}follow/", {"on": "1", "csrfmiddlewaretoken": token})
    assert follow.status_code == 404
    assert str(other.get_username()) not in get(client, "/people/")


def test_circles(author: Any, make_users: Any) -> None:
    client = browser(author)
    assert send(client, "/c/new/", "/new/", name="", description="").status_code == 200
    answer = send(client, "/c/new/", "/new/", name="Birds", description="Wings\nand beaks")
    path = answer.headers["Location"]
    circle = CircleMembership.objects.get(user=author).circle
    assert path == url("circle", circle.pk)
    assert "Post the first one" in get(client, path)
    page = get(client, f"/new/?circle={circle.pk}")
    assert f'<option value="{circle.pk}" selected>Birds</option>' in page
    fields = {"description": "Robin", "photo_url": "https://example.com/p.jpg", "circle": circle.pk}
    send(client, "/new/", "/new/", **fields)
    assert "Robin" in get(client, path)
    [other] = make_users(1)
    guest = browser(other)
    assert "1 member" in get(guest, "/c/")
    assert send(guest, "/c/", "/membership/").headers["Location"] == "/c/"
    assert members.is_member(other, circle.pk)
    assert "2 members" in get(guest, "/c/")
    send(guest, path, "/membership/")
    assert not members.is_member(other, circle.pk)
    assert "Trending in Birds" in get(guest, url("trending", circle.pk))


def test_settings(author: Any) -> None:
    client = browser(author)
    answer = send(client, "/settings/", "/settings/", first_name="Ada", last_name="Lovelace")
    assert answer.headers["Location"] == "/settings/"
    assert "<h1>Ada Lovelace</h1>" in get(client, url("profile", author.pk))


def test_all_data_of_a_user(pair: tuple[Any, Any]) -> None:
    me, author = pair
    photo = uploads.publish(me, **fields_of("mine"))
    [theirs] = publish(author)
    likes.like(me, theirs)
    answer: Any = browser(me).get("/settings/my-data.json")
    assert "attachment" in answer.headers["Content-Disposition"]
    data = json.loads(b"".join(answer.streaming_content))
    assert [one["id"] for one in data["photos"]] == [photo.pk]
    assert [one["followee_id"] for one in data["following"]] == [author.pk]
    assert [one["photo_id"] for one in data["likes"]] == [theirs]
    assert data["followers"] == data["muted"] == data["blocked"] == data["circles"] == []
    assert data["profile"]["username"] == me.get_username()
    assert "password" not in json.dumps(data)


def test_leaving_takes_the_password_and_everything_with_it(author: Any) -> None:
    author.set_password("correct horse 9")
    author.save()
    publish(author)
    client = browser(author)
    assert send(client, "/settings/leave/", "/leave/", password="wrong").status_code == 200
    assert Photo.objects.exists()
    answer = send(client, "/settings/leave/", "/leave/", password="correct horse 9")
    assert answer.headers["Location"].endswith("/accounts/login/")
    assert not get_user_model().objects.exists()
    assert not Photo.objects.exists()
    assert client.get("/").status_code == 302


def test_too_often(author: Any, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "CHANGE_RATE": "2/min", "UPLOAD_RATE": "1/min"}
    [photo] = publish(author)
    client = browser(author)
    codes = [press(client, "/", f"/p/{photo}/like/").status_code for _ in range(3)]
    assert codes == [302, 302, 429]
    fields = {"description": "x", "photo_url": "https://example.com/p.jpg"}
    assert [send(client, "/new/", "/new/", **fields).status_code for _ in range(2)] == [302, 429]
    assert Photo.objects.count() == 2


def test_the_policy_forbids_scripts_and_styles_in_pages(author: Any) -> None:
    publish(author)
    client = browser(author)
    for path in ("/", "/new/", "/people/", "/c/", "/settings/"):
        answer: Any = client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        page = answer.content.decode()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page), path
