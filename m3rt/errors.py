"""The errors m3rt raises on purpose; every message is one line: got, expected, next step.

M3rtError
+-- InputError            a text, option or argument is unusable (also a ValueError)
+-- CheckpointError       an export source is missing, incomplete or not understood
+-- BundleError           a bundle is missing, damaged or from another format
+-- HybridIndexError      an index is missing, damaged, or made by another model
+-- OutputError           a result cannot be written
+-- QueueFull             too much waits for the engine; try again later
+-- DeadlinePassed        the engine did not come to a request in time
+-- EngineError           inference failed
    +-- EngineMissing     the engine's package is not installed (also an ImportError)
    +-- DeviceMissing     the device asked for is not usable here
"""

from .values.shown import one_line


class M3rtError(Exception):
    """Base of every error that m3rt raises on purpose; its message is one line that prints, whatever it quotes."""

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
    """The engine's package is not installed."""


class DeviceMissing(EngineError):
    """The device asked for is not usable here."""
