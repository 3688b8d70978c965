"""A chart of peers.py's JSON: tokens/s of each peer by shape, and the CPU's limits as lines.

    python -m benchmarks.encoder.peers_chart JSON OUT_PREFIX

Writes OUT_PREFIX-light and -dark, each as .svg and .png, for <picture> in a README. Needs matplotlib.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from ..common import options, require

_PANEL_INCHES_WIDE = 6.2


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("json", type=Path)
    parser.add_argument("out")
    args = parser.parse_args()
    require("matplotlib")
    from ..panels import draw

    result = json.loads(args.json.read_text(encoding="utf-8"))
    shapes: dict[str, list[dict[str, Any]]] = {}
    for row in result["rows"]:
        shapes.setdefault(row["shape"], []).append(row)
    conditions = result["conditions"]
    draw(
        args.out,
        f"Dense embeddings, tokens/s (higher is better) - {conditions['cpu']}, {conditions['threads']} threads",
        [partial(_bars, shape, rows) for shape, rows in shapes.items()],
        panel_inches=(_PANEL_INCHES_WIDE, 0.75 + 0.24 * max(map(len, shapes.values()))),
    )


def _bars(shape: str, rows: list[dict[str, Any]], axis: Any, colours: Any) -> None:
    from ..panels import colour_of, name_rows, weight_of

    limits = [row for row in rows if row["peer"].startswith("limit")]
    peers = sorted((row for row in rows if row not in limits), key=lambda row: row["tokens/s"])
    names, speeds = [row["peer"] for row in peers], [row["tokens/s"] for row in peers]
    axis.barh(range(len(names)), speeds, color=[colour_of(name, colours) for name in names], height=0.72)
    fastest = max(row["tokens/s"] for row in rows)
    for place, (name, speed) in enumerate(zip(names, speeds, strict=True)):
        text = axis.text(
            speed + fastest * 0.01, place, f"{speed:,.0f}", va="center", color=colours["text"], weight=weight_of(name)
        )
        text.set_bbox({"facecolor": colours["page"], "edgecolor": "none", "pad": 0.6})  # a limit may pass behind it
    for row in limits:
        axis.plot([row["tokens/s"]] * 2, [-0.6, len(names) - 0.4], ":", color=colours["limit"], linewidth=1.3, zorder=0)
        label = row["peer"].removeprefix("limit: ").replace(" products", " limit")
        axis.text(
            row["tokens/s"], len(names) - 0.35, label, ha="center", va="bottom", color=colours["limit"], fontsize=8
        )
    axis.set_xlim(0, fastest * 1.08)
    axis.set_ylim(-0.6, len(names) + 0.2)
    batch, length = shape.split("x")
    texts = "1 text" if batch == "1" else f"{batch} texts"
    name_rows(axis, names, f"{texts} of {length} tokens", colours, title_pad=10)  # the limits' names are below it


if __name__ == "__main__":
    main()
