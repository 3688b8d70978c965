"""A chart of peers.py's JSON: tokens/s of each peer by shape, and the CPU's limits as lines.

    python benchmarks/chart.py JSON OUT_PREFIX

Writes OUT_PREFIX-light and -dark, each as .svg and .png, for <picture> in a README. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

THEMES = {
    "light": {"text": "#24292f", "ours": "#0969da", "peer": "#afb8c1", "limit": "#cf222e", "page": "#ffffff"},
    "dark": {"text": "#e6edf3", "ours": "#4493f8", "peer": "#57606a", "limit": "#ff7b72", "page": "#0d1117"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path)
    parser.add_argument("out")
    args = parser.parse_args()
    result = json.loads(args.json.read_text(encoding="utf-8"))
    draw(args.out, lambda colours: _figure(result, colours))


def draw(out: str, figure_of: Callable[[dict[str, str]], Any]) -> None:
    """Write the figure of each theme's colours as out-THEME.svg and .png."""
    plt.switch_backend("Agg")
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "m3rt", "font.size": 9})
    for theme, colours in THEMES.items():
        figure = figure_of(colours)
        for suffix, extra in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 160})):
            figure.savefig(f"{out}-{theme}.{suffix}", transparent=True, bbox_inches="tight", **extra)
        plt.close(figure)
        print(f"{out}-{theme}.svg")


def bare(axis: Any, colours: dict[str, str]) -> None:
    """Leave only the names at the left of an axis: the values stand beside their marks."""
    axis.tick_params(colors=colours["text"], length=0)
    axis.xaxis.set_visible(False)
    for side in axis.spines.values():
        side.set_visible(False)


def _figure(result: dict[str, Any], colours: dict[str, str]) -> Any:
    shapes = list(dict.fromkeys(row["shape"] for row in result["rows"]))
    parts = [[row for row in result["rows"] if row["shape"] == shape] for shape in shapes]
    columns = min(2, len(shapes))
    lines = math.ceil(len(shapes) / columns)
    height = 0.75 + 0.24 * max(map(len, parts))
    figure, axes = plt.subplots(lines, columns, figsize=(6.2 * columns, height * lines), squeeze=False)
    for axis in axes.flat[len(shapes) :]:
        axis.set_visible(False)
    for axis, shape, rows in zip(axes.flat, shapes, parts, strict=False):
        _panel(axis, shape, rows, colours)
    conditions = result["conditions"]
    figure.suptitle(
        f"Dense embeddings, tokens/s (higher is better) - {conditions['cpu']}, {conditions['threads']} threads",
        color=colours["text"], fontsize=10,
    )  # fmt: skip
    figure.tight_layout(w_pad=2, h_pad=1.5)
    return figure


def _panel(axis: Any, shape: str, rows: list[dict[str, Any]], colours: dict[str, str]) -> None:
    batch, length = shape.split("x")
    bars = sorted((row for row in rows if not row["peer"].startswith("limit")), key=lambda row: row["tokens/s"])
    limits = [row for row in rows if row["peer"].startswith("limit")]
    names, values = [row["peer"] for row in bars], [row["tokens/s"] for row in bars]
    places = range(len(bars))
    shades = [colours["ours" if name.startswith("m3rt") else "peer"] for name in names]
    axis.barh(places, values, color=shades, height=0.72)
    widest = max([*values, *(row["tokens/s"] for row in limits)])
    for place, name, value in zip(places, names, values, strict=True):
        weight = "bold" if name.startswith("m3rt") else "normal"
        text = axis.text(
            value + widest * 0.01, place, f"{value:,.0f}", va="center", color=colours["text"], weight=weight
        )
        text.set_bbox({"facecolor": colours["page"], "edgecolor": "none", "pad": 0.6})  # a limit may pass behind it
    for row in limits:
        axis.plot([row["tokens/s"]] * 2, [-0.6, len(bars) - 0.4], ":", color=colours["limit"], linewidth=1.3, zorder=0)
        label = row["peer"].removeprefix("limit: ").replace(" products", " limit")
        axis.text(
            row["tokens/s"], len(bars) - 0.35, label, ha="center", va="bottom", color=colours["limit"], fontsize=8
        )
    axis.set_yticks(list(places), names)
    for tick, name in zip(axis.get_yticklabels(), names, strict=True):
        tick.set_weight("bold" if name.startswith("m3rt") else "normal")
    axis.set_xlim(0, widest * 1.08)
    axis.set_ylim(-0.6, len(bars) + 0.2)
    texts = "1 text" if batch == "1" else f"{batch} texts"
    axis.set_title(f"{texts} of {length} tokens", color=colours["text"], fontsize=10, loc="left", pad=10)
    bare(axis, colours)


if __name__ == "__main__":
    main()
