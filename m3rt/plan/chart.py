"""A chart of measured choices: nDCG@10 by bytes a document, and the front that no other choice beats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..evaluation.measures import MAIN
from ..output.figure import COLOURS, TEXT_COLOUR, drawn
from .measure import Measured, best_choice, pareto

_WIDTH_INCHES = 6.0
_ALL, _FRONT, _CHOSEN = COLOURS[:3]


def chart(measured: Sequence[Measured], path: str | Path) -> None:
    """Draw the choices to a file, as m3rt.output.figure.drawn() does, and raise its errors."""
    front, chosen = pareto(measured), best_choice(measured)
    with drawn(path, _WIDTH_INCHES) as axes:
        axes.scatter([m.bytes for m in measured], [m.ndcg.mean() for m in measured], s=12, color=_ALL, label="measured")
        axes.plot([m.bytes for m in front], [m.ndcg.mean() for m in front], "o-", ms=4, color=_FRONT, label="front")
        axes.scatter([chosen.bytes], [chosen.ndcg.mean()], s=60, color=_CHOSEN, label=str(chosen.choice), zorder=3)
        axes.set_xscale("log")
        axes.set_xlabel("bytes a document", color=TEXT_COLOUR)
        axes.set_ylabel(MAIN, color=TEXT_COLOUR)
