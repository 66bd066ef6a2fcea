"""Where the tables are kept that the documentation shows."""

from __future__ import annotations

from devtools.servers import ROOT

RESULTS = ROOT / "docs/benchmarks"


def keep(name: str, title: str, text: str) -> None:
    """Writes a table as a page of the documentation."""
    (RESULTS / f"{name}.md").write_text(f"# {title}\n\n{text}")
