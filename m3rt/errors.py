"""The errors m3rt raises on purpose; every message is one line: got, expected, next step.

M3rtError
+-- InputError            a text, option or argument is unusable (also a ValueError)
+-- CheckpointError       an export source is missing, incomplete or not understood
+-- BundleError           a bundle is missing, damaged or from another format
+-- HybridIndexError      an index is missing, damaged, or made by another model
+-- OutputError           a result cannot be written
+-- EngineError           inference failed
    +-- EngineMissing     the engine's package is not installed (also an ImportError)
    +-- DeviceMissing     the device asked for is not usable here
"""

import operator

from .shown import one_line, shown


class M3rtError(Exception):
    """Base of every error that m3rt raises on purpose; its message is one line that prints, whatever it quotes."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class InputError(M3rtError, ValueError):
    """A text, option or argument is unusable."""


def whole_number(name: str, value: object, low: int, high: int) -> int:
    """`value` as an int in low..high; InputError names the option otherwise. A bool is no number."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except Exception:  # a foreign object's own, too
        raise InputError(f"{name} is {shown(value)}, expected a whole number") from None
    if not low <= number <= high:
        raise InputError(f"{name} is {shown(number)}, expected {low}..{high}")
    return number


class CheckpointError(M3rtError):
    """An export source is missing, incomplete or not understood."""


class BundleError(M3rtError):
    """A bundle is missing, damaged or from another format."""


class HybridIndexError(M3rtError):
    """An index is missing, damaged, or made by another model."""


class OutputError(M3rtError):
    """A result cannot be written."""


class EngineError(M3rtError):
    """Inference failed."""


class EngineMissing(EngineError, ImportError):
    """The engine's package is not installed."""


class DeviceMissing(EngineError):
    """The device asked for is not usable here."""
