"""Checks of arguments that kernels share; each error is one line: what was got, what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def check_array(name: str, array: NDArray[Any], dtype: DTypeLike | tuple[DTypeLike, ...], ndim: int) -> None:
    """Raise ValueError unless `array` is an ndarray of (one of) the dtypes with `ndim` dimensions."""
    kinds = [np.dtype(d) for d in (dtype if isinstance(dtype, tuple) else (dtype,))]
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is a {type(array).__name__}, expected a numpy array")
    if array.dtype not in kinds or array.ndim != ndim:
        wanted = " or ".join(str(d) for d in kinds)
        raise ValueError(f"{name} is {array.dtype} {array.shape}, expected {wanted} with {ndim} dimension(s)")


def check_k(k: int) -> None:
    """Raise ValueError unless k is a whole number >= 1."""
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or k < 1:
        raise ValueError(f"k is {k!r}, expected a whole number >= 1")


def check_alive(alive: NDArray[np.bool_] | None, n: int) -> None:
    """Raise ValueError unless `alive` is None or (n,) bool."""
    if alive is not None and (not isinstance(alive, np.ndarray) or alive.dtype != np.bool_ or alive.shape != (n,)):
        got = f"{alive.dtype} {alive.shape}" if isinstance(alive, np.ndarray) else f"a {type(alive).__name__}"
        raise ValueError(f"alive is {got}, expected bool ({n},)")


def check_finite(name: str, array: NDArray[Any]) -> None:
    """Raise ValueError when `array` holds NaN or an infinity."""
    if not np.isfinite(array).all():
        raise ValueError(f"{name} hold NaN or infinity, expected finite numbers")


def check_csr(name: str, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[np.float32]) -> None:
    """Raise ValueError unless the arrays are CSR rows: ids >= 0, sorted and unique in each row, finite values."""
    check_array(f"{name} indptr", indptr, np.int64, 1)
    check_array(f"{name} indices", indices, np.int32, 1)
    check_array(f"{name} values", values, np.float32, 1)
    if len(indices) != len(values):
        raise ValueError(f"{name} has {len(indices)} indices and {len(values)} values, expected as many of both")
    if not len(indptr) or indptr[0] != 0 or indptr[-1] != len(indices) or (indptr[1:] < indptr[:-1]).any():
        raise ValueError(f"{name} indptr must rise from 0 to {len(indices)}, the number of indices")
    check_finite(f"{name} values", values)
    rises = np.ones(len(indices) + 1, np.bool_)
    rises[1:-1] = indices[1:] > indices[:-1]
    rises[indptr] = True
    if not rises.all() or (len(indices) and indices.min() < 0):
        raise ValueError(f"{name} indices must be >= 0, sorted and unique in each row")


def readonly(array: NDArray[Any]) -> NDArray[Any]:
    """A contiguous read-only view (a copy where it is not contiguous): kernels compile once, not for each kind."""
    view = np.ascontiguousarray(array).view(np.ndarray)
    view.flags.writeable = False
    return view
