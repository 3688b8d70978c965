"""Results on stdout: it has the methods of a Spool."""

from __future__ import annotations

from collections.abc import Sequence

from ...input import Record
from ...output import Part
from ...output.jsonl import lines
from ...output.spool import PartNote
from .console import emit


class Stdout:
    """Prints each part as JSON lines at once and keeps nothing."""

    kept = 0
    resume = "use -o FILE to be able to resume"

    def find(self, number: int, chunk: Sequence[Record]) -> None:
        return None

    def add(self, number: int, note: PartNote, part: Part) -> None:
        emit(lines(part))

    def finish(self) -> None:
        pass
