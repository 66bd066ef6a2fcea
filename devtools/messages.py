"""What the app says to people, as a catalogue to translate: `make messages` writes it from the source."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import IO, Any

from babel.messages import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir, extract_python
from babel.messages.pofile import write_po
from django.utils.translation.template import templatize

from devtools.servers import ROOT

APP = ROOT / "mydjangoapp"
FILE = APP / "locale/django.pot"
KEYWORDS = {**DEFAULT_KEYWORDS, "gettext_lazy": None, "ngettext_lazy": (1, 2)}
METHODS = [("**.py", "python"), ("**.html", "devtools.messages:extract_template")]


def catalogue() -> Catalog:
    """Every text that the source marks."""
    texts = Catalog(header_comment=f"# {__doc__}", project="django-home-feeds", charset="utf-8")
    for file, _, message, comments, context in extract_from_dir(APP, METHODS, keywords=KEYWORDS):
        texts.add(message, locations=[(f"mydjangoapp/{file}", 1)], auto_comments=comments, context=context)
    return texts


def extract_template(
    file: IO[bytes], keywords: dict[str, Any], tags: list[str], options: Any
) -> Iterator[Any]:
    """For Babel: the texts of a template of Django's."""
    source = templatize(file.read().decode())
    yield from extract_python(BytesIO(source.encode()), keywords, tags, options)


def main() -> None:
    FILE.parent.mkdir(exist_ok=True)
    with FILE.open("wb") as file:
        write_po(file, catalogue(), include_lineno=False, sort_output=True)
    print(f"{len(catalogue())} texts: {FILE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
