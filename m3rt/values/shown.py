"""Values in messages: one bounded line that any terminal or log can print, whatever the value is."""

from __future__ import annotations

import reprlib

from ..errors import one_line

_VALUE = 60  # characters of a value
_INTEGER_BITS = 200  # more digits tell nothing, and Python refuses to print 4300 of them


def shown(value: object, limit: int = _VALUE) -> str:
    """How a message quotes a value: its repr on one line, of a table or an array the type and the shape."""
    try:
        if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
            return f"a whole number of {value.bit_length()} bits"
        shape = getattr(value, "shape", ())
        if isinstance(shape, tuple) and shape and not isinstance(value, type):
            return one_line(f"a {kind(value)} of shape {shape}", limit)
        return one_line(_repr(limit).repr(value), limit)
    except Exception:  # whatever a foreign object's methods raise
        return f"a {kind(value)}"


def kind(value: object) -> str:
    """The name of a value's type."""
    return one_line(type(value).__name__, _VALUE)


def reason(error: BaseException) -> str:
    """What a foreign exception says, and its type."""
    return one_line(f"{kind(error)}: {error}" if str(error) else kind(error), 3 * _VALUE)


def _repr(limit: int) -> reprlib.Repr:
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = limit
    return short
