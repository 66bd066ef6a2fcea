"""The site of `proj`, with posts as its photos: `TEST_ON=shop-photos`."""

from proj.settings import *  # noqa: F403
from proj.settings import INSTALLED_APPS, MYDJANGOAPP

INSTALLED_APPS = [*INSTALLED_APPS, "tests.hosts.shop"]
MYDJANGOAPP_PHOTO_MODEL = "shop.Post"
MYDJANGOAPP = {
    **MYDJANGOAPP,
    "PHOTO_SERIALIZER": "tests.hosts.shop.serializers.PostSerializer",
    "UPLOAD_SERIALIZER": "tests.hosts.shop.serializers.PostUploadSerializer",
}
