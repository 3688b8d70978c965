"""Collects the output of the kernels' benchmarks: a page, its JSON, and a chart, light and dark.

    python -m benchmarks.kernels.report OUT_PREFIX PRINTED...

Each PRINTED is a file with the output of one script of benchmarks/kernels. Writes OUT_PREFIX.md and .json, and
OUT_PREFIX-light and -dark, each as .svg and .png. Needs matplotlib.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from ..common import options, require, write_results

TIME_COLUMN = "ms, median (range)"
PANELS = {
    "1 query, 500 documents, dim 1024": "MaxSim, 32 tokens x 500 documents of 1024 dimensions",
    "dense top-10 of 100,000 x 1024": "Dense top-10 of 100,000 x 1024",
    "top-10 of 1,000,000 x 60 terms, 8 a query, weights independent of ids": "Sparse top-10 of 1 M documents, 8 terms",
    "lexical scores, 100 x 10,000, 8 terms a query": "Lexical scores, 100 x 10,000",
}
_PANEL_INCHES = (6.2, 2.6)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("out")
    parser.add_argument("printed", type=Path, nargs="+")
    args = parser.parse_args()
    require("matplotlib")
    from ..panels import draw

    outputs = [path.read_text(encoding="utf-8").rstrip("\n").rpartition("\n") for path in args.printed]
    results = [json.loads(last_line) for _, _, last_line in outputs]
    write_results(Path(args.out), "\n\n".join(page.strip() for page, _, _ in outputs), results)
    milliseconds = _milliseconds(results)
    if not milliseconds:
        raise SystemExit(f"no chart: none of the outputs has a row of {', '.join(map(repr, PANELS))}")
    conditions = results[0]["conditions"]
    draw(
        args.out,
        f"Milliseconds (lower is better) - {conditions['cpu']}, {conditions['threads']} threads",
        [partial(_dots, PANELS[what], bars) for what, bars in milliseconds.items()],
        panel_inches=_PANEL_INCHES,
    )


def _milliseconds(results: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the medians of each panel, by name. A peer that crashed has words in place of a time, and is left out."""
    medians: dict[str, dict[str, float]] = {}
    for what in PANELS:
        for row in (row for result in results for row in result["rows"]):
            if row.get("what") == what and row[TIME_COLUMN][:1].isdigit():
                medians.setdefault(what, {})[row["who"]] = float(row[TIME_COLUMN].split()[0])
    return medians


def _dots(title: str, milliseconds: dict[str, float], axis: Any, colours: Any) -> None:
    from ..panels import colour_of, name_rows, weight_of

    names = sorted(milliseconds, key=lambda name: -milliseconds[name])
    shades = [colour_of(name, colours) for name in names]
    axis.scatter([milliseconds[name] for name in names], range(len(names)), color=shades, s=42, zorder=2)
    axis.grid(axis="y", color=colours["peer"], linewidth=0.4, zorder=0)
    axis.set_axisbelow(True)
    for place, name in enumerate(names):
        axis.text(
            milliseconds[name] * 1.15, place, f"{milliseconds[name]:,.1f}",
            va="center", color=colours["text"], weight=weight_of(name),
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_xlim(min(milliseconds.values()) / 3, max(milliseconds.values()) * 2)
    name_rows(axis, names, f"{title} (log scale)", colours)


if __name__ == "__main__":
    main()
