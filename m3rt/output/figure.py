"""Figures: one pair of axes in a file, readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError
from ..host.extras import need
from ..host.files import replacing
from . import check_link

TEXT_COLOUR = "#7d8590"  # a grey that shows on white and on black pages
COLOURS = ("#8c959f", "#1f83e0", "#e8820c", "#2da44e", "#8250df", "#a475f9", "#cf222e", "#f47067", "#0f766e")
SUFFIXES = (".svg", ".png", ".pdf")


def check(path: str | Path) -> None:
    """Raise InputError, before hours of work, when matplotlib is missing or the file's name fits no format."""
    need("eval", "matplotlib")
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"the chart is {str(path)!r:.80}, expected a name that ends in {', '.join(SUFFIXES)}")
    check_link(Path(path))


@contextmanager
def drawn(path: str | Path, width: float) -> Iterator[Any]:
    """Axes to draw on, written to `path` at the end of the block, on a transparent background; width: in inches.

    Raises InputError as check() does, and OutputError when the file cannot be written.
    """
    check(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "m3rt", "font.size": 9}):
        figure = Figure(figsize=(width, 3.2))
        axes = figure.subplots()
        yield axes
        axes.tick_params(colors=TEXT_COLOUR, which="both")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(TEXT_COLOUR)
        axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, labelcolor=TEXT_COLOUR)
        try:
            with replacing(Path(path)) as aside:
                figure.savefig(aside, format=Path(path).suffix[1:], transparent=True, bbox_inches="tight", dpi=160)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None
