"""Values in messages: one bounded line that any terminal or log can print, whatever the value is."""

from __future__ import annotations

import re
import reprlib

MESSAGE = 399  # characters of a whole message
_VALUE = 60
_INTEGER_BITS = 200  # more digits tell nothing, and Python refuses to print 4300 of them
_ELLIPSIS = " ... "
_LINE_BREAK = re.compile(r"\s*[\r\n]\s*")


def one_line(text: str, limit: int = MESSAGE) -> str:
    """`text` on one line: what does not print is a space, a long middle is left out."""
    if len(text) > 4 * limit:  # a hundred megabytes need not be read to show their ends
        text = text[: 2 * limit] + text[-2 * limit :]
    line = _LINE_BREAK.sub(" ", text)
    if not line.isprintable():
        line = "".join(c if c.isprintable() else " " for c in line)
    if len(line) <= limit:
        return line
    tail = (limit - len(_ELLIPSIS)) // 2
    return line[: limit - len(_ELLIPSIS) - tail] + _ELLIPSIS + line[-tail:]


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
