"""Charts of results: a figure of titled panels, drawn for light and for dark pages. Needs matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt

THEMES = {
    "light": {"text": "#24292f", "ours": "#0969da", "peer": "#afb8c1", "limit": "#cf222e", "page": "#ffffff"},
    "dark": {"text": "#e6edf3", "ours": "#4493f8", "peer": "#57606a", "limit": "#ff7b72", "page": "#0d1117"},
}
_STYLE: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": "m3rt", "font.size": 9}
_FORMATS: Mapping[str, dict[str, Any]] = {"svg": {"metadata": {"Date": None}}, "png": {"dpi": 160}}

Colours = Mapping[str, str]
Panel = Callable[[Any, Colours], None]  # draws on an axis


def draw(out: str, title: str, panels: Sequence[Panel], *, panel_inches: tuple[float, float]) -> None:
    """Write the panels, two in a row, to out-light and out-dark, each as .svg and .png."""
    plt.switch_backend("Agg")
    plt.rcParams.update(_STYLE)
    for theme, colours in THEMES.items():
        figure = _figure(title, panels, panel_inches, colours)
        for suffix, extra in _FORMATS.items():
            figure.savefig(f"{out}-{theme}.{suffix}", transparent=True, bbox_inches="tight", **extra)
        plt.close(figure)
        print(f"{out}-{theme}.svg")


def name_rows(axis: Any, names: Sequence[str], title: str, colours: Colours, *, title_pad: int = 8) -> None:
    """Leave only the rows' names and a title around a panel: values stand beside their marks. m3rt's names are bold."""
    axis.set_yticks(range(len(names)), names)
    for label, name in zip(axis.get_yticklabels(), names, strict=True):
        label.set_weight(weight_of(name))
    axis.set_title(title, color=colours["text"], fontsize=10, loc="left", pad=title_pad)
    axis.tick_params(colors=colours["text"], length=0)
    axis.xaxis.set_visible(False)
    for side in axis.spines.values():
        side.set_visible(False)


def colour_of(name: str, colours: Colours) -> str:
    return colours["ours" if name.startswith("m3rt") else "peer"]


def weight_of(name: str) -> str:
    return "bold" if name.startswith("m3rt") else "normal"


def _figure(title: str, panels: Sequence[Panel], panel_inches: tuple[float, float], colours: Colours) -> Any:
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    size = panel_inches[0] * columns, panel_inches[1] * rows
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        panel(axis, colours)
    figure.suptitle(title, color=colours["text"], fontsize=10)
    figure.tight_layout(w_pad=2, h_pad=1.5)
    return figure
