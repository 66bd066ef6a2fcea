"""The bar chart that the README shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.rig import Way


def draw(by_aof: dict[str, list[Way]], file: Path) -> None:
    """Followers a second by way, one group of bars per AOF mode, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 3.6), layout="constrained")
    height = 0.8 / len(by_aof)
    for group, (aof, ways) in enumerate(by_aof.items()):
        measured = [way for way in ways if way.rates]
        places = [index + group * height for index in range(len(measured))]
        bars = axes.barh(places, [way.rate for way in measured], height, label=f"AOF {aof}")
        axes.bar_label(bars, [f"{way.rate:,.0f}" for way in measured], padding=3, fontsize=8)
        axes.set_yticks(
            [index + 0.4 - height / 2 for index in range(len(measured))], [w.name for w in measured]
        )
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("followers served per second, through a real Celery worker")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=110)
