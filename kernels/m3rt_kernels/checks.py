"""Checks of arguments that kernels share; each error is one line: got, expected."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_PLACES_AT_A_TIME = 1 << 18  # are compared, so that they stay in the second-level cache


def check_ndarray(name: str, array: Any) -> None:
    """Raise ValueError unless `array` is an ndarray."""
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is a {type(array).__name__}, expected a numpy array")


def check_array(name: str, array: NDArray[Any], dtype: DTypeLike | tuple[DTypeLike, ...], ndim: int) -> None:
    """Raise ValueError unless `array` is an ndarray of (one of) the dtypes with `ndim` dimensions."""
    kinds = [np.dtype(d) for d in (dtype if isinstance(dtype, tuple) else (dtype,))]
    check_ndarray(name, array)
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


def check_weights(name: str, values: NDArray[Any], largest: float) -> None:
    """Raise ValueError unless `values` are numbers of 0..largest."""
    if len(values) and not values.min() >= 0:  # NaN is no number >= 0
        raise ValueError(f"{name} hold a negative number or NaN, expected weights >= 0")
    if len(values) and values.max() > largest:
        raise ValueError(f"{name} reach {values.max():.3g}, expected at most {largest:g}: sums would overflow")


def check_finite(name: str, array: NDArray[Any]) -> None:
    """Raise ValueError when `array` holds NaN or an infinity."""
    if not np.isfinite(array).all():
        raise ValueError(f"{name} hold NaN or infinity, expected finite numbers")


def check_indptr(name: str, indptr: NDArray[np.int64], total: int) -> None:
    """Raise ValueError unless `indptr`, or the offsets of ragged rows, rise from 0 to `total`."""
    if not len(indptr) or indptr[0] != 0 or indptr[-1] != total or (indptr[1:] < indptr[:-1]).any():
        raise ValueError(f"{name} must rise from 0 to {total}")


def check_rising(name: str, places: NDArray[Any], end: int, indptr: NDArray[np.int64] | None = None) -> None:
    """Raise ValueError unless `places` are in 0..end - 1 and rise within each row of `indptr`, or throughout."""
    for first in range(0, len(places), _PLACES_AT_A_TIME):
        block = places[first : first + _PLACES_AT_A_TIME + 1]
        rises = block[1:] > block[:-1]
        if indptr is not None:  # the first place of a row may be lower than the last one of the row before
            begin, until = np.searchsorted(indptr, (first + 1, first + len(block)))
            rises[indptr[begin:until] - first - 1] = True
        if not rises.all() or block.min() < 0 or block.max() >= end:
            row = " in each row" if indptr is not None else ""
            raise ValueError(f"{name} must be >= 0, sorted and unique{row}, and below {end}")


def check_csr(name: str, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[np.float32]) -> None:
    """Raise ValueError unless the arrays are CSR rows: ids >= 0, sorted and unique in each row, finite values."""
    check_array(f"{name} indptr", indptr, np.int64, 1)
    check_array(f"{name} indices", indices, np.int32, 1)
    check_array(f"{name} values", values, np.float32, 1)
    if len(indices) != len(values):
        raise ValueError(f"{name} has {len(indices)} indices and {len(values)} values, expected as many of both")
    check_indptr(f"{name} indptr", indptr, len(indices))
    check_finite(f"{name} values", values)
    check_rising(f"{name} indices", indices, 1 << 31, indptr)


def readonly(array: NDArray[Any]) -> NDArray[Any]:
    """Return a contiguous, aligned, read-only view or copy, so that kernels are compiled for one kind of array only."""
    view = np.require(array, requirements=["C", "A"]).view(np.ndarray)
    view.flags.writeable = False
    return view
