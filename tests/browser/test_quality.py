"""What a browser measures of the pages: for everybody to use, light, and steady."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from devtools import scenery
from mydjangoapp import graph, uploads
from mydjangoapp.circles import members
from mydjangoapp.photos import images
from tests.browser.conftest import PHONE, Visitor
from tests.browser.test_visits import until_delivered, until_made
from tests.feeds import publish

Visitors = Callable[..., Visitor]


def photos_of(user: Any, number: int) -> None:
    """Uploads of different shapes, delivered and with their sizes made."""
    for one in range(number):
        scene = scenery.draw(one, [(1_600, 1_200), (900, 1_600), (1_600, 600)][one % 3])
        image = images.clean(SimpleUploadedFile("scene.jpg", scene.body))
        uploads.publish(user, description=scene.title, alt_text=scene.shows, image=image)
    until_delivered()
    until_made()


@pytest.mark.parametrize(
    "options",
    [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"viewport": PHONE, "is_mobile": True}],
    ids=["light", "dark", "phone"],
)
def test_axe_finds_nothing(visitors: Visitors, options: dict[str, Any]) -> None:
    from axe_playwright_python.sync_playwright import Axe  # here: installed by `make test-browser` only

    me, author = visitors("me", **options), visitors("author")
    graph.follow(me.user, author.user)
    circle = members.create(me.user, name="Birds", description="Wings")
    photos_of(author.user, 2)
    [elsewhere] = publish(author.user)
    waiting = uploads.publish(
        author.user,
        description="not made yet",
        image=images.clean(SimpleUploadedFile("scene.jpg", scenery.draw(7).body)),
    )
    stranger = visitors(**options)
    pages = [
        (me, "/"),
        (me, "/new/"),
        (me, "/people/"),
        (me, "/c/"),
        (me, "/c/new/"),
        (me, f"/c/{circle.pk}/"),
        (me, f"/circles/{circle.pk}/trending/"),
        (me, f"/u/{author.user.pk}/"),
        (me, f"/u/{me.user.pk}/"),
        (me, f"/p/{elsewhere}/"),
        (me, f"/p/{waiting.pk}/"),
        (me, "/settings/"),
        (me, "/settings/leave/"),
        (me, "/accounts/password/"),
        (stranger, "/accounts/login/"),
        (stranger, "/accounts/sign-up/"),
    ]
    found = {}
    for visitor, path in pages:
        results = Axe().run(visitor.open(path), options={"resultTypes": ["violations"]})
        if results.violations_count:
            found[path] = results.generate_report()
    assert not found


SHIFTS = """() => {
  window.shifts = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
}"""


def test_pages_are_light_and_do_not_jump(visitors: Visitors) -> None:
    """On a phone: 60 kB without photos, 600 kB with those of the twenty that are in sight or near it."""
    me = visitors("me", viewport=PHONE, is_mobile=True, device_scale_factor=2)
    photos_of(me.user, 20)
    page = me.page
    page.add_init_script(f"({SHIFTS})()")
    sizes: dict[str, int] = {}

    def note(request: Any) -> None:
        measured = request.sizes()
        sizes[request.url] = measured["responseBodySize"] + measured["responseHeadersSize"]

    page.on("requestfinished", note)
    me.open("/")
    page.wait_for_load_state("networkidle")
    for _ in range(12):
        page.mouse.wheel(0, 700)
        page.wait_for_load_state("networkidle")
    photos = sum(size for url, size in sizes.items() if "/media/" in url)
    others = {url: size for url, size in sizes.items() if "/media/" not in url}
    assert photos, "they have been loaded"
    assert sum(others.values()) < 60_000, others
    assert photos + sum(others.values()) < 600_000
    assert page.evaluate("window.shifts") == 0
