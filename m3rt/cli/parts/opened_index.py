"""An index, opened with the encoder that the options of a command ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...index import HybridIndex


def opened_index(path: str, model: str | None, runtime: Mapping[str, Any]) -> HybridIndex:
    """The index at `path`. model: its bundle, by default the one that the index names or an equal one."""
    from ...encoder import M3Encoder
    from ...index import HybridIndex
    from ...index.models import located
    from ...index.store.directory import read

    place = Path(path)
    return HybridIndex(path, M3Encoder(model or located(place, read(place).model), **runtime))
