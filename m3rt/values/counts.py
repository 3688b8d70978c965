"""Numbers of things in messages."""

from __future__ import annotations


def counted(n: int, noun: str, many: str | None = None) -> str:
    """Return "1 text" or "2,000 texts". many: the plural, where it is not the noun with an s."""
    return f"{n:,} {noun if n == 1 else many or f'{noun}s'}"
