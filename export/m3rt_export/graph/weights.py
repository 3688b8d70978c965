"""The external data file of a bundle: tensors aligned to pages, so that engines can map them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_PAGE_BYTES = 4096
_PIECE_BYTES = 1 << 24  # converted at a time, so that peak memory stays far below the largest tensor


class WeightsFile:
    """Writes tensors one after another and describes each as an onnx TensorProto."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._places: dict[bytes, tuple[int, int]] = {}  # offset and length of each tensor by its hash

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, name: str, array: NDArray[Any], dtype: Any = None) -> Any:
        """Append `array`, converted to `dtype` piece by piece; return its TensorProto (data_location EXTERNAL).

        Equal tensors are stored once, so that the graphs of several engines share them.
        """
        dtype = np.dtype(dtype or array.dtype)
        digest = hashlib.blake2b(f"{dtype} {array.shape}".encode())
        for piece in _pieces(array):
            digest.update(np.ascontiguousarray(piece, dtype=dtype).data)
        key = digest.digest()
        if key not in self._places:
            self._file.write(b"\0" * (-self._file.tell() % _PAGE_BYTES))
            offset = self._file.tell()
            for piece in _pieces(array):
                self._file.write(np.ascontiguousarray(piece, dtype=dtype).data)
            self._places[key] = (offset, self._file.tell() - offset)
        return self._proto(name, array.shape, dtype, *self._places[key])

    def _proto(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int, length: int) -> Any:
        from onnx import TensorProto, helper

        proto = TensorProto(
            name=name,
            dims=shape,
            data_type=helper.np_dtype_to_tensor_dtype(dtype),
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in (("location", self.path.name), ("offset", str(offset)), ("length", str(length))):
            proto.external_data.add(key=key, value=value)
        return proto


def _pieces(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    rows = max(1, _PIECE_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
