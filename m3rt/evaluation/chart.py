"""A chart of evaluations: nDCG@10 by data set and mode."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..output.figure import COLOURS, TEXT_COLOUR, drawn
from ..values.printable import plain
from .evaluate import Evaluation
from .measures import MAIN
from .report import modes


def chart(evaluations: list[Evaluation], path: str | Path) -> None:
    """Draw the evaluations to a file, as m3rt.output.figure.drawn() does, and raise its errors."""
    shown, names = modes(evaluations), [plain(evaluation.task.data.name) for evaluation in evaluations]
    width = 0.85 / len(shown)
    with drawn(path, max(4.5, 0.18 * len(shown) * len(names) + 1.5)) as axes:
        for i, (mode, colour) in enumerate(zip(shown, COLOURS, strict=False)):
            places = np.arange(len(names)) + (i - (len(shown) - 1) / 2) * width
            heights = [evaluation.mean(mode) for evaluation in evaluations]
            axes.bar(places, heights, width, label=mode, color=colour)
        axes.set_xticks(
            range(len(names)), names, color=TEXT_COLOUR, rotation=20 if len(names) > 4 else 0, parse_math=False
        )
        axes.set_ylabel(MAIN, color=TEXT_COLOUR)
