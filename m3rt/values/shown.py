"""Shows any value in a message, on one bounded line that every terminal and log can print."""

from __future__ import annotations

import reprlib

from ..errors import one_line

_MAX_CHARACTERS = 60  # of a value
_MAX_BITS = 200  # of a number that is shown: more digits say nothing, and Python refuses to print 4300 of them


def shown(value: object, limit: int = _MAX_CHARACTERS) -> str:
    """Return the repr of a value on one line, or the type and the shape of a table or an array."""
    try:
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            return f"a whole number of {value.bit_length()} bits"
        shape = getattr(value, "shape", ())
        if isinstance(shape, tuple) and shape and not isinstance(value, type):
            return one_line(f"{a_kind(value)} of shape {shape}", limit)
        return one_line(_repr(limit).repr(value), limit)
    except Exception:  # a foreign object's methods may raise anything
        return f"{a_kind(value)}"


def kind(value: object) -> str:
    """Return the name of a value's type."""
    return one_line(type(value).__name__, _MAX_CHARACTERS)


def a_kind(value: object) -> str:
    """Return the name of a value's type with its article."""
    name = kind(value)
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def reason(error: BaseException) -> str:
    """Return the type and the message of a foreign exception."""
    return one_line(f"{kind(error)}: {error}" if str(error) else kind(error), 3 * _MAX_CHARACTERS)


def _repr(limit: int) -> reprlib.Repr:
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = limit
    return short
