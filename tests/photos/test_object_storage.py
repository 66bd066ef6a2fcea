"""Photos in an S3-compatible object store whose URLs are signed: Django's storage API is all that is used."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from PIL import Image
from storages.backends.s3 import S3Storage

from devtools.servers import LOOPBACK
from mydjangoapp import pictures
from mydjangoapp.models import Photo, Picture
from tests.feeds import logged_in
from tests.photos.test_image_upload import picture, send_image
from tests.photos.test_pictures import catch_up

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")

BUCKET = "photos"
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, settings: Any) -> Iterator[Any]:
    """An empty bucket, where the site keeps its files."""
    bucket = boto3.resource("s3", endpoint_url=endpoint, **KEYS).create_bucket(Bucket=BUCKET)
    options = {
        "bucket_name": BUCKET,
        "endpoint_url": endpoint,
        "access_key": KEYS["aws_access_key_id"],
        "secret_key": KEYS["aws_secret_access_key"],
        "region_name": KEYS["region_name"],
        "signature_version": "s3v4",
        "querystring_expire": 3_600,
    }
    s3 = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "default": s3}
    yield bucket
    bucket.objects.delete()


def names_in(bucket: Any) -> set[str]:
    return {entry.key for entry in bucket.objects.all()}


def load(url: str) -> Image.Image:
    """What a browser shows that has nothing but the URL."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # of the test's own server
        return Image.open(io.BytesIO(answer.read()))


def test_a_photo_and_its_sizes_are_stored_signed_and_removed(api: Any, author: Any, bucket: Any) -> None:
    made = send_image(api, picture("JPEG", (800, 600)))
    assert made.status_code == 201, made.content
    assert pictures.make(made.json()["id"], 0)
    photo, row = Photo.objects.get(), Picture.objects.get()
    assert names_in(bucket) == {photo.image.name, *(name for *_, name in row.sizes or ())}
    page: Any = logged_in(author).get("/feed/").json()
    [shown] = page["results"]
    for url in (shown["photo_url"], *(size["url"] for size in shown["sizes"])):
        assert {"X-Amz-Signature", "X-Amz-Expires"} <= parse_qs(urlsplit(url).query).keys()
    assert load(shown["photo_url"]).size == (800, 600)
    assert [load(size["url"]).size for size in shown["sizes"]] == [(320, 240), (640, 480), (800, 600)] * 2
    photo.delete()
    catch_up()
    assert not names_in(bucket)


def test_a_signed_url_is_given_out_again_and_never_for_too_long(
    api: Any, author: Any, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser that knows it does not load the picture again. One from the cache of rows would be one from
    when the row was read."""
    send_image(api, picture())
    clock, signed = [900_000.0], count()
    url_of = S3Storage.url
    # Signed within one second it would be the same.
    monkeypatch.setattr(S3Storage, "url", lambda *asked: f"{url_of(*asked)}&n={next(signed)}")
    monkeypatch.setattr("mydjangoapp.photos.file_urls.now", lambda: clock[0])
    client = logged_in(author)

    def url() -> Any:
        return client.get("/feed/").json()["results"][0]["photo_url"]

    first = url()
    clock[0] += 899
    assert url() == first
    clock[0] += 1
    assert url() != first


def test_a_store_that_refuses_a_file_leaves_nothing_half_done(api: Any, bucket: Any, settings: Any) -> None:
    options = {**settings.STORAGES["default"]["OPTIONS"], "bucket_name": "nowhere"}
    settings.STORAGES = {**settings.STORAGES, "default": {**settings.STORAGES["default"], "OPTIONS": options}}
    with pytest.raises(ClientError, match="NoSuchBucket"):
        send_image(api, picture())
    assert not Photo.objects.exists()
    assert not Picture.objects.exists()
