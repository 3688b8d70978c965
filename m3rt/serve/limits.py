"""What one request may ask for, and how much may wait: bounds that are checked before any work is done."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..queue import CAPACITY
from .refusals import TooLarge

_DRAIN_SPARE_SECONDS = 5  # to send the answers to what was given up last


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a request, and of all together.

    items: texts or documents of a request; clients send up to 2048 (openai). queue_tokens: see Queue. seconds: a
    request that is not answered by then is given up. wait_seconds: what the requests before one may take, so that it is
    refused at once instead; None: as long as seconds. body_seconds: as long may its body take to come. send_seconds: as
    long may a client take to read on.
    """

    body_bytes: int = 64 << 20
    items: int = 2048
    characters: int = 16 << 20
    queue_tokens: int = CAPACITY
    seconds: float = 120.0
    wait_seconds: float | None = None
    body_seconds: float = 30.0
    send_seconds: float = 30.0

    @property
    def drain_seconds(self) -> int:
        """In which a request that was accepted is answered, if only by a refusal."""
        return math.ceil(self.seconds) + _DRAIN_SPARE_SECONDS

    def check(self, texts: list[str]) -> int:
        """The characters of the texts of a request. Raises TooLarge."""
        if len(texts) > self.items:
            raise TooLarge(f"the request holds {len(texts)} texts, expected at most {self.items}; send them in parts")
        characters = sum(map(len, texts))
        if characters > self.characters:
            raise TooLarge(
                f"the request holds {characters} characters, expected at most {self.characters}; send them in parts"
            )
        return characters
