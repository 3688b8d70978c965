"""Loss curves of a stage as an SVG."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_STEPS_AVERAGED = 50


def plot(history: list[dict[str, float]], path: Path) -> None:
    """Draw the running mean of every loss over the steps, in one panel for each loss, since their scales differ."""
    from matplotlib.figure import Figure

    names = list(history[0])
    figure = Figure(figsize=(3 * len(names), 2.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        values = np.array([row[name] for row in history])
        width = min(_STEPS_AVERAGED, len(values))
        mean = np.convolve(values, np.full(width, 1 / width), mode="valid")
        axes.plot(np.arange(len(mean)) + width, mean, color="#4477aa", linewidth=1.2)
        axes.set_title(name)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    figure.savefig(path)
