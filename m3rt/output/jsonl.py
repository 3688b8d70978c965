"""JSON lines: an object for each text, numbers with 7 significant digits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..values.printable import to_json
from .part import Part

_DIGITS = 7
_EXACT_DECIMALS = 22  # 10**22 is the largest power of ten that is exact in float64


def lines(part: Part) -> Iterator[bytes]:
    """Each text's line: index, id if it has one, the computed views, n_tokens, truncated."""
    for i in range(len(part.embeddings)):
        yield to_json(_row(part, i), separators=(",", ":")).encode() + b"\n"


def write(part: Part, path: Path) -> None:
    with path.open("wb") as file:
        file.writelines(lines(part))


def join(parts: Sequence[Path], path: Path) -> None:
    with path.open("wb") as file:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, file, 1 << 20)


def _row(part: Part, i: int) -> dict[str, Any]:
    out = part.embeddings
    row: dict[str, Any] = {"index": part.first + i}
    if part.ids[i] is not None:
        row["id"] = part.ids[i]
    if out.dense_vecs is not None:
        row["dense_vecs"] = _numbers(out.dense_vecs[i])
    if out.sparse is not None:
        tokens, weights = out.sparse.row(i)
        row["lexical_weights"] = dict(zip(tokens.tolist(), _rounded(weights), strict=True))
    if out.multi is not None:
        row["colbert_vecs"] = _numbers(out.multi.row(i))
        if out.multi.scales is not None:
            row["colbert_scales"] = _rounded(out.multi.scales[out.multi.offsets[i] : out.multi.offsets[i + 1]])
    return {**row, "n_tokens": int(out.n_tokens[i]), "truncated": bool(out.truncated[i])}


def _numbers(array: NDArray[Any]) -> Any:
    return _rounded(array) if array.dtype.kind == "f" else array.tolist()


def _rounded(array: NDArray[np.float32]) -> Any:
    """Nested lists of the float64 numbers that print as the float32 numbers do with _DIGITS digits."""
    wide = array.astype(np.float64)
    with np.errstate(divide="ignore"):
        decimals = _DIGITS - 1 - np.floor(np.log10(np.abs(wide)))
    # An integer divided by a power of ten gives the float64 nearest to that decimal, which prints without extra digits.
    scale = 10.0 ** np.clip(decimals, 0, _EXACT_DECIMALS)
    return (np.rint(wide * scale) / scale).tolist()
