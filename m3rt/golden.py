"""Golden vectors: does this bundle give here what it gave where it was exported?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .bundle import Bundle
from .errors import BundleError
from .manifest import GOLDEN

if TYPE_CHECKING:
    from .encoder import M3Encoder

COLBERT_WIDTH = 16  # components kept of each ColBERT vector: enough to prove parity, little to store

# Largest difference of one component between machines. int8 rounds activations, so that a last-bit difference
# in float arithmetic can move a value by a whole step.
TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3, "int8": 2e-2}


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """Largest absolute difference of each output over the golden texts, and what is allowed."""

    texts: int
    differences: dict[str, float]
    tolerance: float

    @property
    def passed(self) -> bool:
        return all(d <= self.tolerance for d in self.differences.values())


def record(model: M3Encoder, text: str) -> dict[str, Any]:
    """The golden record of one text: its ids and all outputs that the bundle has, rounded to 5 decimals."""
    m3 = model.manifest.kind == "m3"
    out = model.encode(text, return_sparse=m3, return_colbert_vecs=m3)
    assert out.dense_vecs is not None
    result: dict[str, Any] = {
        "text": text,
        "input_ids": model.tokenize(text),
        "dense_vecs": _rounded(out.dense_vecs[0]),
    }
    if out.lexical_weights is not None and out.colbert_vecs is not None:
        result["lexical_weights"] = {str(i): round(w, 5) for i, w in out.lexical_weights[0].items()}
        result["colbert_vecs"] = [_rounded(v[:COLBERT_WIDTH]) for v in out.colbert_vecs[0]]
    return result


def check(model: M3Encoder, bundle: Bundle) -> GoldenReport:
    """Encode the golden texts again and compare. Raises BundleError when golden.json is damaged."""
    try:
        expected = json.loads(bundle.file(GOLDEN).read_text(encoding="utf-8"))
        pairs = [(e, record(model, e["text"])) for e in expected]
        differences = {
            "dense_vecs": max(_distance(e["dense_vecs"], r["dense_vecs"]) for e, r in pairs),
            "input_ids": float(any(e["input_ids"] != r["input_ids"] for e, r in pairs)),
        }
        if model.manifest.kind == "m3":
            differences["lexical_weights"] = max(_gap(e["lexical_weights"], r["lexical_weights"]) for e, r in pairs)
            differences["colbert_vecs"] = max(_distance(e["colbert_vecs"], r["colbert_vecs"]) for e, r in pairs)
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{bundle.path / GOLDEN} is damaged: {error!r}; export the model again") from None
    return GoldenReport(len(pairs), differences, TOLERANCE[model.manifest.precision])


def _rounded(vector: Any) -> list[float]:
    return [round(float(x), 5) for x in vector]


def _distance(one: Any, two: Any) -> float:
    a, b = np.asarray(one, np.float64), np.asarray(two, np.float64)
    return float(np.abs(a - b).max(initial=0)) if a.shape == b.shape else float("inf")


def _gap(one: dict[str, float], two: dict[str, float]) -> float:
    return max((abs(one.get(i, 0.0) - two.get(i, 0.0)) for i in {*one, *two}), default=0.0)
