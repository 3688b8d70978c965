"""What MaxSim takes: tokens of a query, and rows of documents of the same width."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import check_ndarray


def check_tokens(query: Any, rows: Any, name: str, dtypes: tuple[Any, ...]) -> None:
    """Raise ValueError unless query (nq, dim) is finite float32 and rows (total, dim) one of `dtypes`.

    rows: an ndarray, or the array of a card.
    """
    check_ndarray("query", query)
    if not hasattr(rows, "copy_to_host"):
        check_ndarray(name, rows)
    dim = tuple(n * (8 if name == "bits" else 1) for n in rows.shape[1:])
    if query.ndim != 2 or rows.ndim != 2 or query.shape[1:] != dim or not query.shape[1]:
        raise ValueError(
            f"query is {query.shape} and {name} {rows.shape}, expected (nq, dim), (total, dim"
            f"{' // 8' if name == 'bits' else ''})"
        )
    if query.dtype != np.float32 or rows.dtype not in dtypes:
        wanted = " or ".join(np.dtype(d).name for d in dtypes)
        raise ValueError(f"query is {query.dtype} and {name} {rows.dtype}, expected float32 and {wanted}")
    if not np.isfinite(query).all():
        raise ValueError("query holds NaN or infinity, expected finite numbers")


def is_on_card(array: Any) -> bool:
    """Whether an array lies on a card: PyTorch's, CuPy's and numba's say so."""
    return hasattr(array, "__cuda_array_interface__")
