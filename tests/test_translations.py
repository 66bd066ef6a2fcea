"""What the app says can be said in another language."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from django.test import Client

from devtools import messages

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")


def test_the_catalogue_has_every_text_of_the_source() -> None:
    with messages.FILE.open("rb") as file:
        kept = {message.id for message in read_po(file)}
    assert kept == {message.id for message in messages.catalogue()}, "run `make messages`"
    assert "There is no circle %(id)s." in kept
    assert "No photo was posted or liked on that day." in kept, "templates are read, too"


@pytest.fixture
def in_german(tmp_path: Path, settings: Any) -> Iterator[None]:
    """A site that has translated a text of the app's."""
    catalogue = Catalog(locale="de", charset="utf-8")
    catalogue.add("Give a whole number from 1 to %(most)s.", "Eine ganze Zahl von 1 bis %(most)s.")
    file = tmp_path / "de/LC_MESSAGES/django.mo"
    file.parent.mkdir(parents=True)
    with file.open("wb") as compiled:
        write_mo(compiled, catalogue)
    settings.LOCALE_PATHS = [tmp_path]
    yield
    settings.LOCALE_PATHS = []


@pytest.mark.usefixtures("in_german")
def test_a_refusal_is_in_the_readers_language(author: Any, client: Client) -> None:
    client.force_login(author)
    german = client.get("/feed/?limit=none", headers={"Accept-Language": "de"})
    assert german.json() == {"limit": ["Eine ganze Zahl von 1 bis 100."]}
    other = client.get("/feed/?limit=none", headers={"Accept-Language": "fr"})
    assert other.json() == {"limit": ["Give a whole number from 1 to 100."]}
