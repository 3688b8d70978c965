"""The number formats of checkpoint files and their numpy dtypes."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

# numpy has no bfloat16. A record with one field cannot be mistaken for integers: arithmetic on it fails.
BFLOAT16 = np.dtype([("bfloat16", "<u2")])

TORCH_STORAGES: dict[str, np.dtype[Any]] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": BFLOAT16,
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}

SAFETENSORS_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": BFLOAT16,
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def is_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.names == BFLOAT16.names


def to_float32(array: Array) -> npt.NDArray[np.float32]:
    """Convert to C-contiguous native float32.

    Args:
        array: any shape, a float dtype or BFLOAT16, any byte order and strides.

    Returns:
        The array itself if it is such an array already (perhaps a read-only view), else a fresh copy.
    """
    if array.dtype.names == BFLOAT16.names:
        bits = array["bfloat16"].astype(np.uint32, order="C")
        bits <<= 16
        return bits.view(np.float32)
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype=np.float32, order="C")
