"""Writes golden.json: texts, their token ids and the bundle's outputs, so that any runtime can prove parity."""

from __future__ import annotations

import json
from pathlib import Path

from m3rt.bundle import open_bundle
from m3rt.bundle.golden import record
from m3rt.bundle.manifest import GOLDEN
from m3rt.encoder import M3Encoder
from m3rt.engines import reference_engine

from .texts import GOLDEN_TEXTS


def write_golden(directory: Path) -> None:
    """Encode the golden texts with the bundle in `directory` and write GOLDEN there."""
    bundle = open_bundle(directory)
    model = M3Encoder.with_engine(bundle, reference_engine(bundle))
    records = [record(model, text) for text in GOLDEN_TEXTS]
    text = json.dumps(records, ensure_ascii=False, indent=1)
    (directory / GOLDEN).write_text(text + "\n", encoding="utf-8")
