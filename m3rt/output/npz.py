"""numpy's .npz: flat arrays; those of ragged rows come with their offsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..embeddings import Embeddings
from .part import Part

Header = tuple[tuple[int, ...], np.dtype[Any]]  # shape, dtype

_NO_ID = np.array([""])
_OFFSETS = ("sparse_indptr", "colbert_offsets")  # (n + 1,), counted from the file's first text


def write(part: Part, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **_ids(part), **arrays_of(part.embeddings))


def join(parts: Sequence[Path], path: Path) -> None:
    with ZipFile(path, "w") as archive:
        for key in dict.fromkeys(key for part in parts for key in _headers(part)):
            # A ZipInfo made here has a constant date, so that equal results make equal files.
            with archive.open(ZipInfo(f"{key}.npy"), "w", force_zip64=True) as entry:
                shape, dtype = _joined(parts, key)
                header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
                npy.write_array_header_1_0(entry, header)
                for array in _pieces(parts, key):
                    entry.write(array.astype(dtype, copy=False).tobytes())


def _ids(part: Part) -> dict[str, Any]:
    if all(key is None for key in part.ids):
        return {}
    return {"ids": np.array([_NO_ID[0] if key is None else str(key) for key in part.ids])}


def arrays_of(out: Embeddings) -> dict[str, Any]:
    """The arrays of embeddings by the names that they have in a file."""
    arrays: dict[str, Any] = {}
    if out.dense_vecs is not None:
        arrays["dense_vecs"] = out.dense_vecs
    if out.sparse is not None:
        arrays["sparse_indptr"] = out.sparse.indptr
        arrays["sparse_indices"] = out.sparse.indices
        arrays["sparse_values"] = out.sparse.values
    if out.multi is not None:
        arrays["colbert_offsets"] = out.multi.offsets
        arrays["colbert_vecs"] = out.multi.vectors
        if out.multi.scales is not None:
            arrays["colbert_scales"] = out.multi.scales
    return {**arrays, "n_tokens": out.n_tokens, "truncated": out.truncated}


def _headers(part: Path) -> dict[str, Header]:
    headers = {}
    with ZipFile(part) as archive:
        for name in archive.namelist():
            with archive.open(name) as entry:
                npy.read_magic(entry)
                shape, _, dtype = npy.read_array_header_1_0(entry)
                headers[name.removesuffix(".npy")] = shape, dtype
    return headers


def _joined(parts: Sequence[Path], key: str) -> Header:
    """Shape and dtype of the joined array; ids are as wide as the widest one."""
    headers = map(_headers, parts)
    shapes, dtypes = zip(*(h.get(key, (h["n_tokens"][0], _NO_ID.dtype)) for h in headers), strict=True)
    overlaps = len(parts) - 1 if key in _OFFSETS else 0
    return (sum(shape[0] for shape in shapes) - overlaps, *shapes[0][1:]), max(dtypes, key=lambda d: d.itemsize)


def _pieces(parts: Sequence[Path], key: str) -> Iterator[NDArray[Any]]:
    """The array of each part; offsets count from the first text of the first part."""
    end: NDArray[Any] | None = None
    for part in parts:
        with np.load(part) as arrays:
            array = arrays[key] if key in arrays else np.repeat(_NO_ID, len(arrays["n_tokens"]))
        if key in _OFFSETS:
            array = array if end is None else array[1:] + end
            end = array[-1]
        yield array
