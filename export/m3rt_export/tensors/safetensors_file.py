"""Reads safetensors files as views of the mapped file, bfloat16 included."""

import json
import math
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from m3rt.errors import CheckpointError

from ..checkpoint.git_lfs import PREFIX, REASON
from .dtypes import SAFETENSORS_DTYPES, Array

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_NEXT_STEP = "the file is cut off or damaged: fetch it again"


def read_safetensors(path: Path) -> dict[str, Array]:
    """Read the tensors of a safetensors file by name.

    Args:
        path: a .safetensors file.

    Returns:
        C-contiguous arrays of the stored shape and dtype (bfloat16 as `dtypes.BFLOAT16`): read-only views of
        the mapped file, so that only tensors that are used take memory.

    Raises:
        CheckpointError: the file is missing, cut off, malformed, or has a dtype that numpy lacks.

    Source: https://github.com/huggingface/safetensors, "Format".

    >>> sorted(read_safetensors(Path("bge-small/model.safetensors")))[0]  # doctest: +SKIP
    'embeddings.LayerNorm.bias'
    """
    if path.exists() and not path.is_file():  # opening a FIFO would wait for a writer
        raise CheckpointError(f"{path} is no regular file, expected safetensors")
    try:
        data: Array = np.memmap(path, np.uint8, "r").view(np.ndarray)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}, expected a readable safetensors file") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: empty file, expected safetensors; {_NEXT_STEP}") from error
    header, body = _split(path, data)
    return {name: _array(path, name, entry, body) for name, entry in header.items() if name != "__metadata__"}


def _split(path: Path, data: Array) -> tuple[dict[str, Any], Array]:
    if data[: len(PREFIX)].tobytes() == PREFIX:
        raise CheckpointError(f"{path} is {REASON}")
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    if data.size < 8 or start > data.size or start > MAX_HEADER_BYTES:
        raise CheckpointError(f"{path}: holds {data.size:,} bytes, expected a header of {start:,}; {_NEXT_STEP}")
    try:
        header = json.loads(data[8:start].tobytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: header is no JSON, expected safetensors; {_NEXT_STEP}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: header is no JSON object, expected safetensors; {_NEXT_STEP}")
    return header, data[start:]


def _array(path: Path, name: str, entry: Any, body: Array) -> Array:
    try:
        dtype = SAFETENSORS_DTYPES[entry["dtype"]]
        shape = [index(n) for n in entry["shape"]]
        begin, end = (index(n) for n in entry["data_offsets"])
        if min(begin, *shape, 0) < 0 or end - begin != math.prod(shape[:33]) * dtype.itemsize:
            raise ValueError("its shape and its bytes differ")
        if end > body.size:
            raise CheckpointError(f"{path}: {name!r:.80} ends at byte {end:,} of {body.size:,} stored; {_NEXT_STEP}")
        return body[begin:end].view(dtype).reshape(shape)
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{path}: tensor {name!r:.80} is not understood ({error!s:.80}), "
            f"expected a dtype of {', '.join(SAFETENSORS_DTYPES)}, a shape and two offsets"
        ) from error
