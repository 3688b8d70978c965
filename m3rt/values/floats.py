"""Arrays of finite numbers, made of anything that numpy can read."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .shown import reason, shown

Float = TypeVar("Float", np.float32, np.float64)


def numbers(name: str, value: object, ndim: int, wanted: str, dtype: type[Float]) -> NDArray[Float]:
    """Return finite numbers with `ndim` dimensions, as a view if they have `dtype` already. Raises InputError."""
    try:
        with np.errstate(over="ignore"):  # infinity is refused below
            array: NDArray[Any] = np.asarray(value)
            fits = array.dtype.kind in "fiu" and array.ndim == ndim
            floats = np.ascontiguousarray(array, dtype) if fits else None
    except Exception as error:  # ragged lists, tensors of a GPU, foreign objects
        raise InputError(f"{name} is {shown(value)}, expected {wanted} ({reason(error)})") from error
    if floats is None:
        raise InputError(f"{name} is {shown(value)}, expected {wanted}")
    if not np.isfinite(floats).all():
        raise InputError(f"{name} holds NaN or infinity, expected {wanted}")
    return floats
