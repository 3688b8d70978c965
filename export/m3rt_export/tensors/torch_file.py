"""Reads torch.save's zip files (pytorch_model.bin, *.pt): memory-mapped, without torch, and no pickle is run."""

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from m3rt.errors import CheckpointError

from ..checkpoint.git_lfs import PREFIX, REASON
from .dtypes import Array
from .pickle_reader import TensorRef, read_pickle

MAX_PICKLE_BYTES = 4 << 20  # bge-m3's data.pkl takes 50 KB
# Weights hardly compress, so a larger ratio is an attack on memory; the allowance lets small files of zeros pass.
MAX_INFLATION_RATIO, INFLATION_ALLOWANCE_BYTES = 16, 64 << 20

# The errors of zipfile and numpy for damaged bytes.
_DAMAGE_ERRORS = (ValueError, LookupError, OverflowError, RuntimeError, EOFError, struct.error, zlib.error)
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
_NOT_ZIP = (
    (b"\x80", "a pickle from before torch 1.6: load it in torch and re-save it as safetensors"),
    (PREFIX, REASON),
    (b"", "not a torch.save file, or a part of one: fetch it again"),
)


def read_torch_file(path: Path) -> dict[str, Array]:
    """Read the tensors of a torch.save file by name; of a nested {"state_dict": {...}} if it has one.

    Args:
        path: a file that torch.save wrote as a zip archive (the default since torch 1.6).

    Returns:
        Arrays of the stored shape, strides and dtype (bfloat16 as `dtypes.BFLOAT16`): read-only views of the
        mapped file, so that only tensors that are used take memory. Compressed records are unpacked at once.

    Raises:
        CheckpointError: the file is missing, damaged, in the format before torch 1.6, or holds anything but tensors.

    Source: torch/serialization.py and caffe2/serialize/inline_container.h.

    >>> read_torch_file(Path("bge-m3/sparse_linear.pt"))["weight"].shape  # doctest: +SKIP
    (1, 1024)
    """
    if path.exists() and not path.is_file():  # opening a FIFO would wait for a writer
        raise CheckpointError(f"{path} is no regular file, expected one of torch.save")
    try:
        with zipfile.ZipFile(path) as archive:
            return _Archive(path, archive).tensors()
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path} is {_why_not_zip(path)}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}, expected a readable torch.save file") from error
    except _DAMAGE_ERRORS as error:
        raise CheckpointError(f"{path}: damaged torch.save file ({str(error)!r:.160}): fetch it again") from error


def _why_not_zip(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(32)
    return next(reason for prefix, reason in _NOT_ZIP if start.startswith(prefix))


class _Archive:
    """An open torch.save archive: its records as bytes, its tensors as arrays."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self.archive = archive
        self.mapped: Array = np.memmap(path, np.uint8, "r").view(np.ndarray)
        unpacked = sum(info.file_size for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED)
        if unpacked > MAX_INFLATION_RATIO * self.mapped.size + INFLATION_ALLOWANCE_BYTES:
            self.fail(f"unpacks to {unpacked:,} bytes, expected at most {MAX_INFLATION_RATIO} times its size")
        roots = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(roots) != 1:
            self.fail(f"holds {len(roots)} data.pkl, expected 1 as torch.save writes")
        self.root = roots[0].removesuffix("data.pkl")
        big = f"{self.root}byteorder" in archive.namelist() and self.record("byteorder").tobytes() == b"big"
        self.byteorder: Literal["<", ">"] = ">" if big else "<"

    def fail(self, reason: str) -> NoReturn:
        raise CheckpointError(f"{self.path}: {reason}; fetch the file again or re-save it as safetensors")

    def record(self, name: str) -> Array:
        """The bytes of a record, uint8, 1-D: a view of the file unless the record is compressed."""
        info = self.archive.getinfo(self.root + name)
        if info.compress_type == zipfile.ZIP_DEFLATED or info.flag_bits & 1:
            return np.frombuffer(self.archive.read(info), np.uint8)
        header = self.mapped[info.header_offset : info.header_offset + 30].tobytes()
        magic, name_length, extra_length = struct.unpack("<4s22xHH", header)
        start = info.header_offset + 30 + name_length + extra_length
        record = self.mapped[start : start + info.file_size]
        if info.compress_type != zipfile.ZIP_STORED or magic != b"PK\3\4" or record.size != info.file_size:
            self.fail(f"record {name!r:.80} is cut off or in an unknown compression")
        return record

    def tensors(self) -> dict[str, Array]:
        size = self.archive.getinfo(f"{self.root}data.pkl").file_size
        if size > MAX_PICKLE_BYTES:
            self.fail(f"data.pkl takes {size:,} bytes, expected at most {MAX_PICKLE_BYTES:,}")
        state = _state_dict(read_pickle(self.record("data.pkl").tobytes(), self.path))
        refs = {name: ref for name, ref in state.items() if isinstance(name, str) and isinstance(ref, TensorRef)}
        if not refs:
            self.fail("holds no named tensors, expected a state dict")
        records = {ref.storage.key: self.record(f"data/{ref.storage.key}") for ref in refs.values()}
        return {name: self.array(name, ref, records[ref.storage.key]) for name, ref in refs.items()}

    def array(self, name: str, ref: TensorRef, record: Array) -> Array:
        dtype, numel = ref.storage.dtype.newbyteorder(self.byteorder), ref.storage.numel
        if record.size != numel * dtype.itemsize:
            self.fail(f"{name!r:.80} has {record.size:,} bytes stored, expected {numel * dtype.itemsize:,}")
        size = math.prod(ref.shape)
        if size == 0:
            return np.empty(ref.shape, dtype)
        last = ref.offset + sum((n - 1) * stride for n, stride in zip(ref.shape, ref.strides, strict=True))
        if max(last + 1, size) > numel:
            self.fail(f"{name!r:.80} spans {max(last + 1, size):,} elements, expected at most {numel:,} stored")
        strides = [stride * dtype.itemsize for stride in ref.strides]
        return np.ndarray(ref.shape, dtype, record, ref.offset * dtype.itemsize, strides)


def _state_dict(value: object, depth: int = 3) -> dict[object, object]:
    if not isinstance(value, dict):
        return {}
    inner = next((value[key] for key in _WRAPPERS if isinstance(value.get(key), dict)), None)
    return value if inner is None or not depth else _state_dict(inner, depth - 1)
