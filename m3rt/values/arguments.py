"""Checks of arguments that are no lists: numbers, flags, choices, paths, mappings."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .shown import reason, shown

_BOOLS = ("bool", "bool_")  # Python's and numpy's


def whole_number(name: str, value: object, low: int, high: int) -> int:
    """Return `value` as an int in low..high. Raises InputError with `name`; a bool is no number."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except Exception:  # a foreign object may raise anything
        raise InputError(f"{name} is {shown(value)}, expected a whole number") from None
    if not low <= number <= high:
        raise InputError(f"{name} is {shown(number)}, expected {low}..{high}")
    return number


def flag(name: str, value: object) -> bool:
    """Return a bool for True, False, numpy's, 1 or 0. Raises InputError, also for "no", which Python takes for true."""
    try:
        # Compared by name, since this module must not import numpy.
        number = operator.index(bool(value) if type(value).__name__ in _BOOLS else value)  # type: ignore[arg-type]
    except Exception:  # a foreign object may raise anything
        number = -1
    if number not in (0, 1):
        raise InputError(f"{name} is {shown(value)}, expected True or False")
    return number == 1


def choice_of(name: str, value: object, names: Iterable[str]) -> str:
    """Return `value` if it is one of `names`. Raises InputError."""
    choices = tuple(names)
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} is {shown(value)}, expected one of {', '.join(choices)}")
    return str.__str__(value)


def path_of(name: str, value: object) -> Path:
    """Return `value` as a path that the system accepts. Raises InputError."""
    try:
        path = os.fspath(value)  # type: ignore[call-overload]
        if isinstance(path, str) and path and b"\0" not in os.fsencode(path):
            return Path(path)
    except Exception:  # a foreign object may raise anything
        pass
    raise InputError(f"{name} is {shown(value)}, expected the path of a directory")


def mapping_of(name: str, value: object, wanted: str) -> dict[Any, Any]:
    """Return a mapping as a dictionary. Raises InputError, also when the mapping itself fails."""
    if not isinstance(value, Mapping):
        raise InputError(f"{name} is {shown(value)}, expected {wanted}")
    try:
        return dict(value)
    except Exception as error:
        raise InputError(f"{name} cannot be read ({reason(error)}), expected {wanted}") from error
