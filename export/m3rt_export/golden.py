"""Writes golden.json: texts, their token ids and the bundle's outputs, so that any runtime can prove parity."""

from __future__ import annotations

import json
from pathlib import Path

from m3rt.bundle import open_bundle
from m3rt.bundle.golden import record, record_pair
from m3rt.bundle.manifest import GOLDEN
from m3rt.encoder import M3Encoder
from m3rt.engines import reference_engine
from m3rt.reranker import M3Reranker

from .texts import GOLDEN_PAIRS, GOLDEN_TEXTS


def write_golden(directory: Path) -> None:
    """Run the golden texts, or a reranker's pairs of them, through the bundle in `directory` and write GOLDEN there."""
    bundle = open_bundle(directory)
    engine = reference_engine(bundle)
    if bundle.manifest.kind == "reranker":
        reranker = M3Reranker.with_engine(bundle, engine)
        records = [record_pair(reranker, *pair) for pair in GOLDEN_PAIRS]
    else:
        model = M3Encoder.with_engine(bundle, engine)
        records = [record(model, text) for text in GOLDEN_TEXTS]
    text = json.dumps(records, ensure_ascii=False, indent=1)
    (directory / GOLDEN).write_text(text + "\n", encoding="utf-8")
