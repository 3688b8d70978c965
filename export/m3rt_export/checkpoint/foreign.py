"""Directories that are no checkpoint of the kind that is expected, by what they hold instead."""

from __future__ import annotations

from pathlib import Path

from m3rt.bundle.manifest import MANIFEST
from m3rt.errors import CheckpointError

from .json_file import read_fields, understood

CONFIG = "config.json"
ADAPTER = "adapter_config.json"
OLD_FOLDER = "0_Transformer"  # where Sentence Transformers once kept the encoder
_KINDS = {
    ".gguf": "a GGUF file of llama.cpp",
    ".onnx": "an ONNX graph",
    ".h5": "weights of TensorFlow",
    ".msgpack": "weights of Flax",
    ".ckpt": "a training checkpoint",
}


def refuse_foreign(path: Path) -> None:
    """Raise CheckpointError for a directory that holds no checkpoint, or more than one m3rt knows of."""
    with understood(path):
        _refuse_foreign(path)


def _refuse_foreign(path: Path) -> None:
    if (path / ADAPTER).exists():
        base = read_fields(path / ADAPTER).raw.get("base_model_name_or_path")
        raise CheckpointError(
            f"{path} is a LoRA adapter of {base!r:.80}: merge it first with peft, merge_and_unload() and "
            "save_pretrained(), and export the result"
        )
    if any((path / folder / CONFIG).exists() for folder in ("", OLD_FOLDER)):
        return
    if (path / MANIFEST).exists():
        raise CheckpointError(f"{path} is a bundle already, expected a checkpoint; use it as it is")
    what = "is empty: no" if not any(path.iterdir()) else "has no"
    raise CheckpointError(
        f"{path} {what} {CONFIG}{beside(path)}, expected a Hugging Face checkpoint directory; give one, or a Hub id "
        "such as BAAI/bge-m3"
    )


def beside(path: Path) -> str:
    """What of another kind a directory holds, as a part of a sentence."""
    if not path.is_dir():
        return ""
    found = next((file for file in sorted(path.iterdir()) if file.suffix in _KINDS), None)
    return f" but {_KINDS[found.suffix]} ({found.name!r:.60})" if found else ""
