"""The progress of a run that embeds texts, shown on stderr."""

from __future__ import annotations

import time
from typing import Self

from ...output.spool import PartNote
from ...values.counts import counted
from .console import bar, say

_SECONDS_BETWEEN_LINES = 60.0  # where stderr is no terminal


class Meter:
    """A context manager that counts texts and tokens and shows them: a bar on a terminal, elsewhere a line a minute.

    total: the number of texts, if known. kept: texts that an earlier run has finished.
    """

    def __init__(self, total: int | None, kept: int) -> None:
        self.texts = self.tokens = self.truncated = 0
        self._goal = "" if total is None else f" of {total:,}"
        self._kept = kept
        self._ran_texts = self._ran_tokens = 0
        self._start = self._spoken = time.perf_counter()
        self._bar = bar(total=total, initial=kept, unit=" texts")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def ran(self, texts: int, tokens: int) -> None:
        """Count one forward pass."""
        self._ran_texts += texts
        self._ran_tokens += tokens
        now = time.perf_counter()
        self._bar.set_postfix_str(f"{self._ran_tokens / (now - self._start):,.0f} tokens/s", refresh=False)
        self._bar.update(texts)
        if self._bar.disable and now - self._spoken >= _SECONDS_BETWEEN_LINES:
            self._spoken = now
            say(f"{self._kept + self._ran_texts:,}{self._goal} texts, {self._speed()}")

    def finished(self, note: PartNote) -> None:
        """Count one part that this run or an earlier one has written."""
        self.texts += note.texts
        self.tokens += note.tokens
        self.truncated += note.truncated

    def summary(self, limit: int) -> str:
        """Counts of all finished texts, and the speed of this run. limit: tokens at which texts are cut."""
        kept = f" ({self._kept:,} by an earlier run)" if self._kept else ""
        cut = f"{self.truncated:,} truncated to {limit} tokens" if self.truncated else "none truncated"
        return f"{counted(self.texts, 'text')}{kept}, {counted(self.tokens, 'token')}, {cut}, {self._speed()}"

    def _speed(self) -> str:
        seconds = max(time.perf_counter() - self._start, 1e-9)
        return f"{seconds:.1f} s, {self._ran_texts / seconds:,.1f} texts/s, {self._ran_tokens / seconds:,.0f} tokens/s"
