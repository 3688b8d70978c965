"""A chart of measured choices: nDCG@10 by bytes a document, and the front that no other choice beats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import OutputError
from ..evaluation.chart import check
from ..evaluation.measures import MAIN
from ..host.files import replacing
from .measure import Measured, best_choice, pareto

_TEXT, _ALL, _FRONT, _CHOSEN = "#7d8590", "#8c959f", "#1f83e0", "#e8820c"  # they show on white and on black pages


def chart(measured: Sequence[Measured], path: str | Path) -> None:
    """Draw to a .svg, .png or .pdf file. Raises InputError as evaluation.chart.check(), and OutputError."""
    check(str(path))
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    front, chosen = pareto(measured), best_choice(measured)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "m3rt", "font.size": 9}):
        figure = Figure(figsize=(6, 3.6))
        axis = figure.subplots()
        axis.scatter([m.bytes for m in measured], [m.ndcg.mean() for m in measured], s=12, color=_ALL, label="measured")
        axis.plot([m.bytes for m in front], [m.ndcg.mean() for m in front], "o-", ms=4, color=_FRONT, label="front")
        axis.scatter([chosen.bytes], [chosen.ndcg.mean()], s=60, color=_CHOSEN, label=str(chosen.choice), zorder=3)
        axis.set_xscale("log")
        axis.set_xlabel("bytes a document", color=_TEXT)
        axis.set_ylabel(MAIN, color=_TEXT)
        axis.tick_params(which="both", colors=_TEXT)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(_TEXT)
        axis.legend(frameon=False, labelcolor=_TEXT, loc="lower right")
        try:
            with replacing(Path(path)) as aside:
                figure.savefig(aside, format=Path(path).suffix[1:], transparent=True, bbox_inches="tight", dpi=160)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None
