"""Sites of somebody else's, with real workers and web servers: each uploads, follows, reads and deletes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from devtools.installed_servers import PostgresServer
from devtools.servers import RedisServer
from tests.hosts.host import HostSite, build_wheel, wait_for_delivery

USERS = """
from django.contrib.auth import get_user_model
from rest_framework.authtoken.models import Token
users = [get_user_model().objects.create_user(f"user-{n}", f"user-{n}@example.com", "-") for n in range(3)]
keys = [Token.objects.create(user=user).key for user in users]
print(json.dumps([[user.pk, {"Authorization": f"Token {key}"}] for user, key in zip(users, keys)]))
"""
PEOPLE = """
from django.contrib.auth import get_user_model
from django.core import signing
make = get_user_model().objects.create
users = [make(email=f"user-{n}@example.com", nickname=f"Nick {n}") for n in range(3)]
print(json.dumps([[str(one.pk), {"Authorization": f"Signed {signing.dumps(one.email)}"}] for one in users]))
"""
POSTGRES = """
DATABASES["default"] = {{
    "ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": {port}, "USER": "feeds",
    "NAME": "postgres", "ATOMIC_REQUESTS": True,
}}
"""
PHOTO = {"description": "Sunrise", "photo_url": "https://example.com/sunrise.jpg"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the built wheel is installed."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def site(tmp_path: Path, wheel: Path, redis: Any, redis_server: RedisServer) -> Iterator[HostSite]:
    """A site as startproject makes it."""
    with HostSite(tmp_path / "site", wheel, redis_server) as made:
        yield made


def people_of(site: HostSite, code: str = USERS) -> list[tuple[Any, httpx.Client]]:
    """Ids and clients of three users: an author, a follower and a stranger."""
    return [(id_, site.client(headers)) for id_, headers in site.run(code)]


def lives(
    people: list[tuple[Any, httpx.Client]], body: dict[str, Any], path: str = "/feeds"
) -> dict[str, Any]:
    """What users do; returns the entry that the follower has seen."""
    (author_id, author), (_, follower), (_, stranger) = people
    assert follower.put(f"{path}/users/{author_id}/follow/").status_code == 204
    upload = author.post(f"{path}/upload/", json=body)
    progress = wait_for_delivery(author, upload)
    assert (progress["state"], progress["reached"], progress["total"]) == ("done", 1, 1)
    photo = upload.json()["id"]
    assert follower.put(f"{path}/photos/{photo}/like/").status_code == 204
    [entry] = follower.get(f"{path}/feed/").raise_for_status().json()["results"]
    assert (entry["id"], entry["like_count"], entry["liked"]) == (photo, 1, True)
    assert stranger.get(f"{path}/feed/").json()["results"] == []
    assert [one["id"] for one in author.get(f"{path}/feed/").json()["results"]] == [photo]
    assert follower.delete(f"{path}/photos/{photo}/").status_code == 403
    assert author.delete(f"{path}/photos/{photo}/").status_code == 204
    assert follower.get(f"{path}/feed/").json()["results"] == []
    assert httpx.get(follower.base_url.join(f"{path}/feed/")).status_code == 401
    return dict(entry)


def test_the_readme_alone(site: HostSite, wheel: Path) -> None:
    assert list(wheel.glob("mydjangoapp/homefeed/lua/*.lua"))
    assert list(wheel.glob("mydjangoapp/locale/*.pot"))
    assert not (wheel / "proj").exists()
    site.install().start()
    entry = lives(people_of(site), PHOTO)
    assert (entry["description"], entry["author"]["username"]) == ("Sunrise", "user-0")
    assert site.client({}).get("/internal/readyz/").status_code == 200
    assert b"mydjangoapp" in site.client({}).get("/internal/metrics").content
    site.manage("verify_feeds")
    token = site.client({}).post("/feeds/token/", json={"username": "user-1", "password": "-"})
    assert token.status_code == 200


@pytest.mark.slow
def test_people_with_uuids_who_log_in_by_address(site: HostSite) -> None:
    """Own authentication, no token app, `followers`, `photos` and `likes` of their own, ATOMIC_REQUESTS,
    ASGI."""
    with PostgresServer.new() as postgres:
        settings = 'AUTH_USER_MODEL = "people.Person"\nINSTALLED_APPS.remove("rest_framework.authtoken")\n'
        settings += 'MYDJANGOAPP["PUBLIC_NAME"] = "nickname"\n'
        settings += 'MYDJANGOAPP["AUTHENTICATION_CLASSES"] = ["people.authentication.SignedAddress"]\n'
        site.install().add("people", settings + POSTGRES.format(port=postgres.port))
        urls = site.directory / "mysite/urls.py"
        urls.write_text(
            urls.read_text().replace('    path("feeds/", include("mydjangoapp.urls_token"))', "    #")
        )
        site.start("uvicorn", "mysite.asgi:application")
        people = people_of(site, PEOPLE)
        entry = lives(people, PHOTO)
        assert entry["author"] == {"id": people[0][0], "username": "Nick 0", "name": ""}
        (author_id, _), (_, follower), _ = people
        for page in ("", "photos/", "followers/"):
            assert "@" not in follower.get(f"/feeds/users/{author_id}/{page}").raise_for_status().text
        answer = follower.post("/feeds/token/", json={})
        assert answer.status_code == 404, urls.read_text() + answer.text
        site.manage("verify_feeds")


@pytest.mark.slow
def test_a_shop_whose_posts_are_the_photos(site: HostSite) -> None:
    settings = 'MYDJANGOAPP_PHOTO_MODEL = "shop.Post"\n'
    settings += 'MYDJANGOAPP["PHOTO_SERIALIZER"] = "shop.serializers.PostSerializer"\n'
    settings += 'MYDJANGOAPP["UPLOAD_SERIALIZER"] = "shop.serializers.PostUploadSerializer"\n'
    site.install().add("shop", settings).start()
    entry = lives(people_of(site), {"text": "New shoes", "tags": ["red"]})
    assert (entry["text"], entry["tags"], entry["pictures"]) == ("New shoes", ["red"], [])
    site.manage("verify_feeds")


@pytest.mark.slow
def test_a_magazine_whose_articles_were_there_before(site: HostSite) -> None:
    """The table as it was, with rows in it; then the app and the migration that adopts it."""
    old = site.directory / "old.py"
    site.add("magazine")
    models = site.directory / "magazine/models.py"
    new_models = models.read_text()
    models.write_text(
        "from django.conf import settings\nfrom django.db import models\n"
        "class Article(models.Model):\n"
        "    id = models.AutoField(primary_key=True)\n"
        "    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name='articles')\n"
        "    title = models.CharField(max_length=200)\n"
        "    published = models.DateTimeField()\n"
    )
    site.manage("migrate", "magazine", "0001", "-v0")
    site.manage("migrate", "auth", "-v0")
    site.manage("migrate", "contenttypes", "-v0")
    made = site.run(
        "from django.contrib.auth.models import User\nfrom magazine.models import Article\n"
        "ada = User.objects.create(username='ada')\n"
        "rows = [Article(author=ada, title=str(n), published=f'20{n}-01-01T00:00Z') for n in range(10, 20)]\n"
        "Article.objects.bulk_create(rows)\nprint(json.dumps(ada.pk))"
    )
    assert not old.exists()
    models.write_text(new_models)
    settings = 'MYDJANGOAPP_PHOTO_MODEL = "magazine.Article"\n'
    settings += 'MYDJANGOAPP["PHOTO_SERIALIZER"] = "magazine.serializers.ArticleSerializer"\n'
    settings += 'MYDJANGOAPP["UPLOAD_SERIALIZER"] = "magazine.serializers.ArticleUploadSerializer"\n'
    site.install().add("", settings).start()
    people = people_of(site)
    entry = lives(people, {"title": "Today", "published": "2026-01-01T00:00Z"})
    assert entry["title"] == "Today"
    _, (_, follower), _ = people
    assert follower.put(f"/feeds/users/{made}/follow/").status_code == 204
    page = follower.get("/feeds/feed/?limit=4").json()
    assert [one["title"] for one in page["results"]] == ["19", "18", "17", "16"]
    assert page["results"][0]["created_at"] == "2019-01-01T00:00:00Z"
    rest = follower.get(page["next"].replace("limit=4", "limit=50")).json()["results"]
    assert [one["title"] for one in rest] == ["15", "14", "13", "12", "11", "10"]
    fanouts = site.run("from mydjangoapp.models import FanOut\nprint(json.dumps(FanOut.objects.count()))")
    assert fanouts == 1, "nobody's old articles are delivered"
    site.manage("verify_feeds")


@pytest.mark.slow
def test_two_sites_on_one_redis_do_not_meet(
    tmp_path: Path, wheel: Path, redis: Any, redis_server: RedisServer
) -> None:
    with (
        HostSite(tmp_path / "one", wheel, redis_server) as one,
        HostSite(tmp_path / "other", wheel, redis_server) as other,
    ):
        for site, prefix in ((one, "one:"), (other, "other:")):
            site.install().add("", f'MYDJANGOAPP["KEY_PREFIX"] = "{prefix}"').start()
        people = {site: people_of(site) for site in (one, other)}
        for _ in range(3):  # ids are the same on both
            for site in (one, other):
                entry = lives(people[site], PHOTO)
                assert entry["description"] == "Sunrise"
        for site, strange in ((one, b"other:"), (other, b"one:")):
            log = (site.directory / "worker.log").read_bytes()
            assert strange not in log
            assert log.count(b"insert_into_homefeed") >= 3
            site.manage("verify_feeds")


LEFT_OUT = {
    "W006": ("mysite/__init__.py", "from .celery import app as celery_app", ""),
    "W007": ("mysite/celery.py", "celery_defaults.use(app)", ""),
    "W009": ("mysite/settings.py", 'MEDIA_URL, MEDIA_ROOT = "/media/", BASE_DIR / "media"', ""),
    "E008": ("mysite/settings.py", '"rest_framework.authtoken", ', ""),
    "E002": ("mysite/settings.py", '{"REDIS_URL": "redis', '{"REDIS_URL": "http'),
}


@pytest.mark.parametrize("id_", LEFT_OUT)
def test_check_says_what_was_left_out(id_: str, site: HostSite) -> None:
    name, text, instead = LEFT_OUT[id_]
    file = site.install().directory / name
    assert text in file.read_text()
    file.write_text(file.read_text().replace(text, instead).replace('__all__ = ["celery_app"]', ""))
    ran = subprocess.run(
        [sys.executable, "manage.py", "check", "--fail-level", "WARNING"],
        cwd=site.directory,
        env=site.environ,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert f"mydjangoapp.{id_}" in ran.stderr, ran.stderr
    assert "HINT" in ran.stderr or id_ == "E002"
