"""Golden vectors: check that a bundle gives the same outputs here as on the machine that exported it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BundleError
from ..host.files import read_bytes
from ..values.schema import parsed
from . import Bundle
from .manifest import GOLDEN
from .renumbering import renumbering

if TYPE_CHECKING:
    from ..encoder import M3Encoder
    from ..reranker import M3Reranker

_MAX_BYTES = 1 << 26  # of golden.json; BGE-M3's has less than one MB
COLBERT_WIDTH = 16  # components of each ColBERT vector that golden.json keeps: enough to prove parity

# The largest difference of a vector between machines, relative to its length. int8 rounds activations, so that a
# last-bit difference in float arithmetic can move a value by a whole step; .03 corresponds to a cosine of .9995.
# int4 has int8's activations, hence its tolerance.
TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3, "int8": 3e-2, "int4": 3e-2}


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """The largest relative difference of each output over the golden texts or pairs, and the tolerance."""

    texts: int
    differences: dict[str, float]
    tolerance: float

    @property
    def passed(self) -> bool:
        return all(d <= self.tolerance for d in self.differences.values())


def record(model: M3Encoder, text: str) -> dict[str, Any]:
    """Make the golden record of a text: its ids and all outputs that the bundle has, rounded to 6 decimals.

    Ids are those of the bundle's own tokenizer.json and graph, also where the vocabulary is pruned.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scripts that a pruned vocabulary lost: the golden texts are in many
        out = model.encode(text, **model.manifest.heads.keywords())
    assert out.dense_vecs is not None
    result: dict[str, Any] = {
        "text": text,
        "input_ids": _own_ids(model.bundle, model.tokenize(text)),
        "dense_vecs": _rounded(out.dense_vecs[0]),
    }
    if out.lexical_weights is not None and out.colbert_vecs is not None:
        weights = out.lexical_weights[0]
        ids = _own_ids(model.bundle, list(weights))
        result["lexical_weights"] = {str(i): round(w, 6) for i, w in zip(ids, weights.values(), strict=True)}
        result["colbert_vecs"] = [_rounded(v[:COLBERT_WIDTH]) for v in out.colbert_vecs[0]]
    return result


def check(model: M3Encoder, bundle: Bundle) -> GoldenReport:
    """Encode the golden texts again and compare. Raises BundleError when golden.json is damaged."""
    with _undamaged(bundle):
        expected = parsed(read_bytes(bundle.file(GOLDEN), _MAX_BYTES))
        pairs = [(e, record(model, e["text"])) for e in expected]
        differences = {
            "dense_vecs": max(_distance(e["dense_vecs"], r["dense_vecs"]) for e, r in pairs),
            "input_ids": float(any(e["input_ids"] != r["input_ids"] for e, r in pairs)),
        }
        if model.manifest.heads.sparse:
            differences["lexical_weights"] = max(_gap(e["lexical_weights"], r["lexical_weights"]) for e, r in pairs)
            differences["colbert_vecs"] = max(_distance(e["colbert_vecs"], r["colbert_vecs"]) for e, r in pairs)
    return GoldenReport(len(pairs), differences, TOLERANCE[model.manifest.precision])


def record_pair(model: M3Reranker, query: str, passage: str) -> dict[str, Any]:
    """The golden record of one pair: its ids and logits, rounded to 6 decimals."""
    return {
        "query": query,
        "passage": passage,
        "input_ids": _own_ids(model.bundle, model.tokenize(query, passage)),
        "logits": _rounded(model.logits((query, passage))[0]),
    }


def check_pairs(model: M3Reranker, bundle: Bundle) -> GoldenReport:
    """Score the golden pairs again and compare, all logits as one vector: one near 0 alone has no scale.

    Raises BundleError when golden.json is damaged.
    """
    with _undamaged(bundle):
        expected = parsed(read_bytes(bundle.file(GOLDEN), _MAX_BYTES))
        pairs = [(e, record_pair(model, e["query"], e["passage"])) for e in expected]
        ours, theirs = ([x for record in side for x in record["logits"]] for side in zip(*pairs, strict=True))
        differences = {
            "logits": _distance(ours, theirs),
            "input_ids": float(any(e["input_ids"] != r["input_ids"] for e, r in pairs)),
        }
    return GoldenReport(len(pairs), differences, TOLERANCE[model.manifest.precision])


def _own_ids(bundle: Bundle, ids: list[int]) -> list[int]:
    table = renumbering(bundle)
    return table.own(np.array(ids, np.int64)).tolist() if table else ids


@contextmanager
def _undamaged(bundle: Bundle) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise BundleError(f"{bundle.path / GOLDEN} is damaged: {error!r:.200}; export the model again") from None


def _rounded(vector: Any) -> list[float]:
    return [round(float(x), 6) for x in vector]


def _distance(expected: Any, actual: Any) -> float:
    """Return the largest relative distance of a vector, or of any of several, from the expected one; 0 for none."""
    a, b = np.atleast_2d(np.asarray(expected, np.float64)), np.atleast_2d(np.asarray(actual, np.float64))
    if a.shape != b.shape:
        return float("inf")
    with np.errstate(over="ignore", invalid="ignore"):  # forged numbers may be huge
        lengths = np.maximum(np.linalg.norm(a, axis=1), 1e-12)
        return float((np.linalg.norm(a - b, axis=1) / lengths).max(initial=0))


def _gap(expected: dict[str, float], actual: dict[str, float]) -> float:
    """Return the relative distance of lexical weights from the expected ones."""
    ids = sorted({*expected, *actual})
    return _distance([expected.get(i, 0.0) for i in ids], [actual.get(i, 0.0) for i in ids]) if ids else 0.0
