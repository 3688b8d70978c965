"""The tensors of a checkpoint directory, for every kind of weight file and every name prefix in use."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from m3rt.errors import CheckpointError

from ..checkpoint import layout
from ..checkpoint.foreign import beside
from ..checkpoint.json_file import read_fields
from .dtypes import Array, is_float, to_float32
from .safetensors_file import read_safetensors
from .torch_file import read_torch_file

READERS: dict[str, Callable[[Path], dict[str, Array]]] = {
    ".safetensors": read_safetensors,
    ".bin": read_torch_file,
    ".pt": read_torch_file,
}
RENAMES = (
    (re.compile(r"^(?:(?:module|model|auto_model|roberta|xlm_roberta|bert)\.)+"), ""),
    (re.compile(r"LayerNorm\.gamma$"), "LayerNorm.weight"),
    (re.compile(r"LayerNorm\.beta$"), "LayerNorm.bias"),
)
_ELEMENTS_AT_A_TIME = 1 << 20  # no more are checked for NaN and infinity at once, to keep memory low


class TensorStore(Mapping[str, Array]):
    """Read-only map from plain names, such as "encoder.layer.0.output.dense.weight", to stored arrays.

    Values are read-only views in the stored dtype, mostly of mapped files; `require` checks and converts them.
    files: the paths that were read, an index included.
    """

    def __init__(self, files: list[Path], tensors: Mapping[str, Array]) -> None:
        self.files = files
        self._tensors: dict[str, Array] = {}
        for stored, array in tensors.items():
            name = plain_name(stored)
            if name in self._tensors:
                raise CheckpointError(
                    f"{self.where}: {stored!r:.80} is a second {name!r:.80}, expected one; remove either"
                )
            self._tensors[name] = array

    def __getitem__(self, name: str) -> Array:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @property
    def where(self) -> str:
        return ", ".join(str(path) for path in self.files)

    def require(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Check one tensor and return it as float32.

        Args:
            name: the plain name.
            shape: the shape that the configuration implies.

        Returns:
            A C-contiguous float32 array of that shape: a read-only view of the mapped file if the file stores
            float32, else a fresh copy.

        Raises:
            CheckpointError: the tensor is missing, has another shape, is no float, or holds NaN or infinity.

        >>> open_tensors(Path("bge-m3")).require("embeddings.LayerNorm.bias", (1024,)).dtype  # doctest: +SKIP
        dtype('float32')
        """
        if name not in self._tensors:
            raise CheckpointError(
                f"{self.where}: tensor {name!r} is missing among {len(self)}, expected shape {shape}; "
                "is the checkpoint complete and its config.json the right one?"
            )
        stored = self._tensors[name]
        if stored.shape != shape or not is_float(stored.dtype):
            raise CheckpointError(
                f"{self.where}: tensor {name!r} is {stored.dtype} of shape {stored.shape}, "
                f"expected floats of shape {shape}; does config.json belong to these weights?"
            )
        array = to_float32(stored)
        bad = _count_nonfinite(array)
        if bad:
            raise CheckpointError(
                f"{self.where}: tensor {name!r} holds {bad:,} non-finite values, expected none; "
                "the checkpoint is unusable: fetch it again"
            )
        return array


def plain_name(stored: str) -> str:
    for pattern, replacement in RENAMES:
        stored = pattern.sub(replacement, stored)
    return stored


def _count_nonfinite(array: npt.NDArray[np.float32]) -> int:
    flat = array.reshape(-1)
    chunks = (flat[i : i + _ELEMENTS_AT_A_TIME] for i in range(0, flat.size, _ELEMENTS_AT_A_TIME))
    return sum(chunk.size - int(np.count_nonzero(np.isfinite(chunk))) for chunk in chunks)


def open_tensors(source: Path) -> TensorStore:
    """Map the weights of a checkpoint directory, or of one weight file.

    Args:
        source: a directory with a file of `layout.WEIGHTS`, or a .safetensors, .bin or .pt file.

    Raises:
        CheckpointError: no weights there, a damaged or unsafe file, or an index that its shards contradict.

    Source: transformers' save_pretrained names these files.

    >>> len(open_tensors(Path("bge-m3")))  # doctest: +SKIP
    391
    """
    names = [weights.file for weights in layout.WEIGHTS]
    paths = [source / name for name in names] if source.is_dir() else [source]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise CheckpointError(
            f"{source}: no weights there{beside(source)}, expected a file or a directory with "
            f"{' or '.join(names)}; fetch the whole checkpoint"
        )
    if path.name.endswith(".index.json"):
        return _open_shards(path)
    if path.suffix not in READERS:
        raise CheckpointError(f"{path}: unknown kind of weights, expected {', '.join(READERS)}; convert it first")
    return TensorStore([path], READERS[path.suffix](path))


def _open_shards(index: Path) -> TensorStore:
    wanted = _weight_map(index)
    shards = [_inside(index, name) for name in sorted(set(wanted.values()))]
    read = {path.name: READERS[path.suffix](path) for path in shards}
    missing = next((name for name, shard in wanted.items() if name not in read[shard]), None)
    if missing is not None:
        raise CheckpointError(
            f"{index}: tensor {missing!r:.80} is not in {wanted[missing]}, expected as the index says; "
            "fetch index and shards again"
        )
    return TensorStore([index, *shards], {name: read[shard][name] for name, shard in wanted.items()})


def _weight_map(index: Path) -> dict[str, str]:
    weight_map = read_fields(index, required=True).raw.get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise CheckpointError(f"{index}: weight_map maps no names to files, expected that; fetch it again")
    return weight_map


def _inside(index: Path, shard: str) -> Path:
    """The path of a shard beside its index; only inside the Hub's cache may a link lead to another folder."""
    directory = index.parent.resolve()
    in_cache = directory.parent.name == "snapshots" and directory.parent.parent.name.startswith("models--")
    root = directory.parents[2] if in_cache else directory
    path = index.parent / shard
    plain = re.fullmatch(r"[\w.-]{1,200}", shard) and path.suffix in READERS
    if not plain or not path.resolve().is_relative_to(root):
        raise CheckpointError(
            f"{index}: shard {shard!r:.80} is no weight file inside {directory}, expected a plain file name; "
            "do not trust this checkpoint"
        )
    return path
