"""Directories that hold something else than the expected kind of checkpoint."""

from __future__ import annotations

from pathlib import Path

from m3rt.bundle.manifest import MANIFEST
from m3rt.errors import CheckpointError

from . import layout
from .json_file import read_fields, understood

_KINDS = {
    ".gguf": "a GGUF file of llama.cpp",
    ".onnx": "an ONNX graph",
    ".h5": "weights of TensorFlow",
    ".msgpack": "weights of Flax",
    ".ckpt": "a training checkpoint",
}


def refuse_foreign(path: Path) -> None:
    """Raise CheckpointError for a directory without a checkpoint, and for a LoRA adapter; say what it holds."""
    with understood(path):
        _refuse_foreign(path)


def _refuse_foreign(path: Path) -> None:
    if (path / layout.ADAPTER).exists():
        base = read_fields(path / layout.ADAPTER).raw.get("base_model_name_or_path")
        raise CheckpointError(
            f"{path} is a LoRA adapter of {base!r:.80}: merge it first with peft, merge_and_unload() and "
            "save_pretrained(), and export the result"
        )
    if any((path / folder / layout.CONFIG).exists() for folder in ("", layout.OLD_ENCODER_FOLDER)):
        return
    if (path / MANIFEST).exists():
        raise CheckpointError(f"{path} is a bundle already, expected a checkpoint; use it as it is")
    state = "is empty: no" if not any(path.iterdir()) else "has no"
    raise CheckpointError(
        f"{path} {state} {layout.CONFIG}{beside(path)}, expected a Hugging Face checkpoint directory; give one, or a "
        "Hub id such as BAAI/bge-m3"
    )


def beside(path: Path) -> str:
    """Name a file of another kind that a directory holds, as a part of a sentence; "" if there is none."""
    if not path.is_dir():
        return ""
    other = next((file for file in sorted(path.iterdir()) if file.suffix in _KINDS), None)
    return f" but {_KINDS[other.suffix]} ({other.name!r:.60})" if other else ""
