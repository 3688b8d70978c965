"""The errors that m3rt raises on purpose; every message is one line: got, expected, next step.

M3rtError
+-- InputError            a text, option or argument is unusable (also a ValueError)
+-- CheckpointError       an export source is missing, incomplete or not understood
+-- BundleError           a bundle is missing, damaged or from another format
+-- HybridIndexError      an index is missing, damaged, or made by another model
+-- OutputError           a result cannot be written
+-- QueueFull             too much waits for the engine; try again later
+-- DeadlinePassed        the engine did not come to a request in time
+-- EngineError           inference failed
    +-- EngineMissing     the engine's package is not installed, or too old (also an ImportError)
    +-- DeviceMissing     the requested device is not usable here
"""

import re

_MAX_MESSAGE = 399  # characters
_ELLIPSIS = " ... "
_LINE_BREAK = re.compile(r"\s*[\r\n]\s*")


class M3rtError(Exception):
    """Base of every error that m3rt raises on purpose; its message is one printable line, whatever it quotes."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class InputError(M3rtError, ValueError):
    """A text, option or argument is unusable."""


class CheckpointError(M3rtError):
    """An export source is missing, incomplete or not understood."""


class BundleError(M3rtError):
    """A bundle is missing, damaged or from another format."""


class HybridIndexError(M3rtError):
    """An index is missing, damaged, or made by another model."""


class OutputError(M3rtError):
    """A result cannot be written."""


class QueueFull(M3rtError):
    """Too much waits for the engine; try again later."""


class DeadlinePassed(M3rtError):
    """The engine did not come to a request in time."""


class EngineError(M3rtError):
    """Inference failed."""


class EngineMissing(EngineError, ImportError):
    """The engine's package is not installed, or too old."""


class DeviceMissing(EngineError):
    """The requested device is not usable here."""


def one_line(text: str, limit: int = _MAX_MESSAGE) -> str:
    """Put `text` on one line: a space replaces each unprintable character, and a long middle is left out."""
    if len(text) > 4 * limit:  # a hundred megabytes need not be searched to show their ends
        text = text[: 2 * limit] + text[-2 * limit :]
    line = _LINE_BREAK.sub(" ", text)
    if not line.isprintable():
        line = "".join(c if c.isprintable() else " " for c in line)
    if len(line) <= limit:
        return line
    tail = (limit - len(_ELLIPSIS)) // 2
    return line[: limit - len(_ELLIPSIS) - tail] + _ELLIPSIS + line[-tail:]
