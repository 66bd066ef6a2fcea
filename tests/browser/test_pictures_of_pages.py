"""The pictures of pages that the README shows: `make pictures` keeps them under docs/pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devtools import demo_site
from devtools.servers import ROOT
from tests.browser.conftest import PASSWORD, PHONE, Visitor
from tests.browser.test_visits import until_delivered, until_made

WIDE = {"width": 1_000, "height": 760}
SHOTS: dict[str, tuple[str, dict[str, Any]]] = {
    "home-light": ("/", {"viewport": WIDE, "color_scheme": "light"}),
    "home-dark": ("/", {"viewport": WIDE, "color_scheme": "dark"}),
    "home-phone": ("/", {"viewport": PHONE, "is_mobile": True, "color_scheme": "light"}),
    "upload-phone": ("/new/", {"viewport": PHONE, "is_mobile": True, "color_scheme": "dark"}),
    "people-phone": ("/people/", {"viewport": PHONE, "is_mobile": True, "color_scheme": "light"}),
}


@pytest.fixture
def places(tmp_path: Path) -> Path:
    return ROOT / "docs/pictures" if os.environ.get("KEEP_PICTURES") else tmp_path


def test_pictures_of_pages(visitors: Callable[..., Visitor], places: Path) -> None:
    author = visitors("author").user
    demo_site.fill(author, PASSWORD)
    until_delivered()
    until_made()
    for name, (path, options) in SHOTS.items():
        visitor = visitors(demo_site.VISITOR, **options)
        page = visitor.open(path)
        page.wait_for_load_state("networkidle")
        shown = "all => all.every(img => img.complete && img.naturalWidth > 0)"
        assert page.locator("img:not([loading=lazy]):not([hidden])").evaluate_all(shown)
        file = places / f"{name}.jpg"
        page.screenshot(path=str(file), type="jpeg", quality=80)
        assert 5_000 < file.stat().st_size < 150_000
