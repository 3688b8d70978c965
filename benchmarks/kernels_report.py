"""Collects what the kernels' benchmarks printed: a page, its JSON, and a chart, light and dark.

    python benchmarks/kernels_report.py OUT_PREFIX PRINTED...

Each PRINTED is the output of one kernels_*.py. Writes OUT_PREFIX.md and .json, and OUT_PREFIX-light and -dark, each as
.svg and .png. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from chart import bare, draw
from common import write

TIME = "ms, median (range)"
PANELS = {
    "1 query, 500 documents, dim 1024": "MaxSim, 32 tokens x 500 documents of 1024 dimensions",
    "dense top-10 of 100,000 x 1024": "Dense top-10 of 100,000 x 1024",
    "top-10 of 1,000,000 x 60 terms, 8 a query, weights independent of ids": "Sparse top-10 of 1 M documents, 8 terms",
    "lexical scores, 100 x 10,000, 8 terms a query": "Lexical scores, 100 x 10,000",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("printed", type=Path, nargs="+")
    args = parser.parse_args()
    pages = [path.read_text(encoding="utf-8").rstrip("\n").rpartition("\n") for path in args.printed]
    results = [json.loads(last) for _, _, last in pages]
    write(Path(f"{args.out}.md"), "\n\n".join(page.strip() for page, _, _ in pages) + "\n")
    write(Path(f"{args.out}.json"), json.dumps(results, indent=1) + "\n")
    draw(args.out, lambda colours: _figure(results, colours))


def _figure(results: list[dict[str, Any]], colours: dict[str, str]) -> Any:
    rows = [row for result in results for row in result["rows"] if row.get("what") in PANELS]
    shown = [what for what in PANELS if any(row["what"] == what for row in rows)]
    figure, axes = plt.subplots(-(-len(shown) // 2), 2, figsize=(12.4, 2.6 * -(-len(shown) // 2)), squeeze=False)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, what in zip(axes.flat, shown, strict=False):
        # Those that crashed have words in the place of a time.
        timed = [row for row in rows if row["what"] == what and row[TIME][:1].isdigit()]
        bars = {row["who"]: float(row[TIME].split()[0]) for row in timed}
        _panel(axis, PANELS[what], bars, colours)
    conditions = results[0]["conditions"]
    figure.suptitle(
        f"Milliseconds (lower is better) - {conditions['cpu']}, {conditions['threads']} threads",
        color=colours["text"], fontsize=10,
    )  # fmt: skip
    figure.tight_layout(w_pad=2, h_pad=1.5)
    return figure


def _panel(axis: Any, title: str, bars: dict[str, float], colours: dict[str, str]) -> None:
    names = sorted(bars, key=lambda name: -bars[name])
    ours = [name.startswith("m3rt") for name in names]
    shades = [colours["ours" if own else "peer"] for own in ours]
    axis.scatter([bars[name] for name in names], range(len(names)), color=shades, s=42, zorder=2)
    axis.grid(axis="y", color=colours["peer"], linewidth=0.4, zorder=0)
    axis.set_axisbelow(True)
    axis.set_yticks(range(len(names)), names)
    for place, (name, own, label) in enumerate(zip(names, ours, axis.get_yticklabels(), strict=True)):
        weight = "bold" if own else "normal"
        label.set_weight(weight)
        axis.text(
            bars[name] * 1.15, place, f"{bars[name]:,.1f}", va="center", color=colours["text"], weight=weight
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_xlim(min(bars.values()) / 3, max(bars.values()) * 2)
    axis.set_title(f"{title} (log scale)", color=colours["text"], fontsize=10, loc="left", pad=8)
    bare(axis, colours)


if __name__ == "__main__":
    main()
