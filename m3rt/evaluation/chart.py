"""A chart of evaluations: nDCG@10 by data set and mode, readable on light and on dark pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError, OutputError
from ..host.extras import need
from ..host.files import replacing
from ..output import check_link
from ..values.printable import plain
from .evaluate import Evaluation
from .measures import MAIN
from .report import modes

_TEXT_COLOUR = "#7d8590"  # a grey that shows on white and on black pages
_COLOURS = ("#8c959f", "#1f83e0", "#e8820c", "#2da44e", "#8250df", "#a475f9", "#cf222e", "#f47067", "#0f766e")
SUFFIXES = (".svg", ".png", ".pdf")


def chart(evaluations: list[Evaluation], path: str | Path) -> None:
    """Draw the evaluations to a file whose name ends in one of SUFFIXES, on a transparent background.

    Raises InputError as check() does, and OutputError when the file cannot be written.
    """
    check(str(path))
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown, names = modes(evaluations), [plain(evaluation.task.data.name) for evaluation in evaluations]
    width = 0.85 / len(shown)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "m3rt", "font.size": 9}):
        figure = Figure(figsize=(max(4.5, 0.18 * len(shown) * len(names) + 1.5), 3.2))
        axis = figure.subplots()
        for i, (mode, colour) in enumerate(zip(shown, _COLOURS, strict=False)):
            places = np.arange(len(names)) + (i - (len(shown) - 1) / 2) * width
            heights = [evaluation.mean(mode) for evaluation in evaluations]
            axis.bar(places, heights, width, label=mode, color=colour)
        axis.set_xticks(
            range(len(names)), names, color=_TEXT_COLOUR, rotation=20 if len(names) > 4 else 0, parse_math=False
        )
        axis.set_ylabel(MAIN, color=_TEXT_COLOUR)
        axis.tick_params(colors=_TEXT_COLOUR)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(_TEXT_COLOUR)
        axis.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, labelcolor=_TEXT_COLOUR)
        try:
            with replacing(Path(path)) as aside:
                figure.savefig(aside, format=Path(path).suffix[1:], transparent=True, bbox_inches="tight", dpi=160)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None


def check(path: str) -> None:
    """Raise InputError, before hours of work, when matplotlib is missing or the file's name fits no format."""
    need("eval", "matplotlib")
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"the chart is {path!r:.80}, expected a name that ends in {', '.join(SUFFIXES)}")
    check_link(Path(path))
