"""How long a request will wait: by the requests that are in hand and the speed at which they are answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from .waiting import SHORT_TOKENS

_KEPT = 0.9  # of what was measured, at each pass: the last ten or so count


class Load:
    """The requests in hand, with their tokens, and the tokens a second that passes answer while there are any.

    The time between passes counts too, so that whatever else keeps the process busy slows the speed down. pass_tokens:
    what a pass costs beside its own tokens, in tokens.
    """

    def __init__(self, pass_tokens: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._pass_tokens, self._clock = pass_tokens, clock
        self._requests = self._tokens = 0
        self._began: float | None = None  # the time that is not measured yet; None: the first pass, which compiles
        self._passed_tokens = self._passed_seconds = 0.0

    def add(self, tokens: int) -> None:
        if not self._requests and self._began is not None:
            self._began = self._clock()
        self._requests += 1
        self._tokens += tokens

    def remove(self, tokens: int) -> None:
        self._requests -= 1
        self._tokens -= tokens

    def passed(self, tokens: int, more: bool) -> None:
        """Measure a pass that ends now, if more waits: passes of a server with little to do are small and slow."""
        now = self._clock()
        if more and self._began is not None:
            self._passed_tokens = _KEPT * self._passed_tokens + tokens + self._pass_tokens
            self._passed_seconds = _KEPT * self._passed_seconds + now - self._began
        self._began = now

    def seconds(self, tokens: int | None = None) -> float:
        """How long all of them take, or those before a request of so many tokens.

        Requests take turns by tokens, so each of the others gets about as many as this one before it is answered; but
        short ones share passes, so that a shorter one is not answered before them.
        """
        if not (self._requests and self._passed_tokens):
            return 0.0
        share = self._tokens if tokens is None else self._requests * max(tokens, SHORT_TOKENS)
        return (min(self._tokens, share) + self._pass_tokens) * self._passed_seconds / self._passed_tokens
