"""Exports of tiny checkpoints, and the parts that several of their tests share."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from checkpoints import sentences, write_json
from m3rt_export import export

from m3rt import M3Encoder, M3rtError
from m3rt.bundle import Bundle
from m3rt.engines import reference_engine

ALL = {"return_dense": True, "return_sparse": True, "return_colbert_vecs": True}
TEXTS = [*sentences()[::4], "", "<pad> <s> typed </s>", "word " * 60, " ".join(sentences())]
PRECISIONS = ("fp32", "fp16", "int8")


def encoder(bundle: Bundle) -> M3Encoder:
    """An encoder on the CPU for every precision."""
    return M3Encoder.with_engine(bundle, reference_engine(bundle))


def refusal(directory: Path, checkpoint: Path, **options: Any) -> str:
    """The one line of the error that an export into `directory` ends with; it leaves nothing there."""
    before = sorted(directory.iterdir()) if directory.exists() else []
    with pytest.raises(M3rtError) as caught:
        export(checkpoint, directory / "bundle", **options)
    assert sorted(directory.iterdir()) == before
    assert "\n" not in str(caught.value)
    return f"{type(caught.value).__name__}: {caught.value}"


def edit_json(path: Path, **values: Any) -> None:
    write_json(path, json.loads(path.read_text("utf-8")) | values)


def external(bundle: Bundle) -> dict[str, tuple[int, int]]:
    """Offset and length of every tensor outside the graph file, all in weights.bin."""
    model = onnx.load(bundle.path / "model.onnx", load_external_data=False)
    entries = {t.name: {e.key: e.value for e in t.external_data} for t in model.graph.initializer if t.external_data}
    assert {entry["location"] for entry in entries.values()} == {"weights.bin"}
    return {name: (int(entry["offset"]), int(entry["length"])) for name, entry in entries.items()}
