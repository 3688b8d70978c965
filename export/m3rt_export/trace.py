"""Architectures that the graph builder does not know: Optimum traces them, dense only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from m3rt.errors import CheckpointError
from m3rt.manifest import Graph, Precision

from .config import SUPPORTED, Config


def trace(
    checkpoint: Path,
    config: Config,
    precision: Precision,
    dense_only: bool,
    directory: Path,
    progress: Callable[[str], object],
) -> Graph:
    kind = config.architecture.model_type
    raise CheckpointError(
        f"{checkpoint} is a {kind!r} model, which the graph builder does not know ({', '.join(SUPPORTED)})"
    )
