"""Arguments that are no lists, checked where they come in: flags, choices, paths, arrays of numbers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .shown import reason, shown

Float = TypeVar("Float", np.float32, np.float64)


def flag(name: str, value: object) -> bool:
    """True or False, also numpy's, or 1 or 0; a text such as "no", which Python takes for true, is InputError."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, int | np.integer) and value in (0, 1)):
        return bool(value)
    raise InputError(f"{name} is {shown(value)}, expected True or False")


def choice_of(name: str, value: object, names: Iterable[str]) -> str:
    """One of the names. Raises InputError."""
    known = tuple(names)
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} is {shown(value)}, expected one of {', '.join(known)}")
    return str.__str__(value)


def path_of(name: str, value: object) -> Path:
    """A path that the system can be asked for. Raises InputError."""
    try:
        path = os.fspath(value)  # type: ignore[call-overload]
        if isinstance(path, str) and path and b"\0" not in os.fsencode(path):
            return Path(path)
    except Exception:  # no path, no text of this system, or a foreign object's own
        pass
    raise InputError(f"{name} is {shown(value)}, expected the path of a directory")


def numbers(name: str, value: object, ndim: int, wanted: str, dtype: type[Float]) -> NDArray[Float]:
    """Finite numbers with so many dimensions, a view where they are of `dtype` already. Raises InputError."""
    try:
        with np.errstate(over="ignore"):  # infinity is refused below
            array: NDArray[Any] = np.asarray(value)
            fits = array.dtype.kind in "fiu" and array.ndim == ndim
            found = np.ascontiguousarray(array, dtype) if fits else None
    except Exception:  # ragged lists, numbers out of range, foreign objects
        found = None
    if found is None:
        raise InputError(f"{name} is {shown(value)}, expected {wanted}")
    if not np.isfinite(found).all():
        raise InputError(f"{name} holds NaN or infinity, expected {wanted}")
    return found


def mapping_of(name: str, value: object, wanted: str) -> dict[Any, Any]:
    """A mapping as a dictionary. Raises InputError, also where the mapping itself fails."""
    if not isinstance(value, Mapping):
        raise InputError(f"{name} is {shown(value)}, expected {wanted}")
    try:
        return dict(value)
    except Exception as error:
        raise InputError(f"{name} cannot be read ({reason(error)}), expected {wanted}") from error
