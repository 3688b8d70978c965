"""Write torch.save's zip format without torch, by opcode, so that tests can also write it wrongly."""

import math
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "float64": "DoubleStorage",
    "int64": "LongStorage",
}


def write_torch_file(path: Path, state: Mapping[str, np.ndarray[Any, Any]]) -> Path:
    """Write arrays as torch.save writes a state dict: one storage each, C order."""
    arrays = {str(key): np.ascontiguousarray(array) for key, array in enumerate(state.values())}
    tensors = {
        name: tensor(key, array.shape, storage=STORAGES[array.dtype.name])
        for name, (key, array) in zip(state, arrays.items(), strict=True)
    }
    return write_archive(path, pickled(dictionary(tensors)), {k: a.tobytes() for k, a in arrays.items()})


def write_archive(
    path: Path,
    data_pkl: bytes,
    storages: Mapping[str, bytes],
    *,
    byteorder: str = "little",
    deflate: bool = False,
) -> Path:
    """Write the records of a torch.save archive, each on a 64-byte boundary unless deflated."""
    records = {"data.pkl": data_pkl, "byteorder": byteorder.encode()}
    records |= {f"data/{key}": data for key, data in storages.items()} | {"version": b"3\n"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            info = zipfile.ZipInfo(f"archive/{name}")
            if deflate:
                info.compress_type = zipfile.ZIP_DEFLATED
            else:
                padding = -(archive.fp.tell() + 30 + len(info.filename) + 4) % 64
                info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
            archive.writestr(info, data)
    return path


def pickled(opcodes: bytes) -> bytes:
    return b"\x80\x02" + opcodes + b"."


def dictionary(values: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(name) + opcodes for name, opcodes in values.items()) + b"u"


def tensor(
    key: str, shape: tuple[int, ...], *, storage: str = "FloatStorage", numel: int | None = None,
    offset: int = 0, strides: tuple[int, ...] | None = None,
) -> bytes:  # fmt: skip
    """The opcodes of one tensor; by default C order over a storage of just its size."""
    numel = math.prod(shape) if numel is None else numel
    strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape))) if strides is None else strides
    location = [text("storage"), f"ctorch\n{storage}\n".encode(), text(key), text("cpu"), integer(numel)]
    window = [integer(offset), ints(shape), ints(strides)]
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n"
    return b"".join([call, b"((", *location, b"tQ", *window, hooks, b"tR"])


def ints(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data
