"""Fidelity: how near one bundle's outputs are to another's, of the same checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files

import numpy as np
from m3rt_kernels import maxsim
from numpy.typing import NDArray

from ..bundle.manifest import Manifest
from ..embeddings import Embeddings, MultiVectors, SparseVectors
from ..errors import InputError

NEIGHBOURS = 10
TERMS = 10
_QUERIES = 50  # texts that are scored with all
_CHARACTERS = 1000  # of a text of a data set


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Outputs beside a reference's, over `texts` texts.

    cosine_mean, cosine_min: of a text's two dense vectors. overlap: of its ten nearest neighbours among the other
    texts, the share that is found again. sparse_agreement: of its ten heaviest terms (all, where it has fewer), the
    share that is found again. colbert_error: the largest difference of the MaxSim scores of about fifty of the texts
    with all. The last two are None for a model without these heads.
    """

    texts: int
    cosine_mean: float
    cosine_min: float
    overlap: float
    sparse_agreement: float | None = None
    colbert_error: float | None = None

    @property
    def sample(self) -> str:
        """What was compared."""
        return f"{self.texts} texts"

    def values(self) -> dict[str, float]:
        """What there is, without the number of texts."""
        return {name: value for name, value in asdict(self).items() if name != "texts" and value is not None}


def built_in_texts() -> list[str]:
    """300 short sentences in 30 languages that no int8 export was calibrated with."""
    return (files(__package__) / "sentences.txt").read_text(encoding="utf-8").splitlines()


def check_same_model(model: Manifest, reference: Manifest) -> None:
    """Raise InputError unless both come from the same weights and have the same heads."""
    if model.kind != reference.kind:
        raise InputError(f"one bundle is {model.kind} and the other {reference.kind}; compare bundles with equal heads")
    hashes = [{file.sha256 for file in m.source.files.values()} for m in (model, reference)]
    if hashes[0] != hashes[1]:
        raise InputError(
            f"{model.source.id} and {reference.source.id} were exported from different files; compare bundles of one "
            "checkpoint"
        )


def fidelity(model: Embeddings, reference: Embeddings) -> Fidelity:
    """Compare the outputs for the same texts, at least two, with those of the reference."""
    ones, others = _dense(model), _dense(reference)
    cosines = np.einsum("nd,nd->n", ones, others) / (np.linalg.norm(ones, axis=1) * np.linalg.norm(others, axis=1))
    sparse = colbert = None
    if model.sparse is not None and reference.sparse is not None:
        sparse = _agreement(model.sparse, reference.sparse)
    if model.multi is not None and reference.multi is not None:
        colbert = float(np.abs(_scores(model.multi) - _scores(reference.multi)).max())
    return Fidelity(len(model), float(cosines.mean()), float(cosines.min()), _overlap(ones, others), sparse, colbert)


def _dense(embeddings: Embeddings) -> NDArray[np.float64]:
    assert embeddings.dense_vecs is not None
    return embeddings.dense_vecs.astype(np.float64)


def _overlap(ones: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    nearest = []
    for vectors in (ones, others):
        similarity = vectors @ vectors.T
        np.fill_diagonal(similarity, -np.inf)
        nearest.append(np.argsort(-similarity, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(vectors) - 1)])
    return float(np.mean([len({*a} & {*b}) / len(a) for a, b in zip(*(n.tolist() for n in nearest), strict=True)]))


def _agreement(model: SparseVectors, reference: SparseVectors) -> float:
    pairs = [(_heaviest(model, i), _heaviest(reference, i)) for i in range(len(reference))]
    shares = [len(one & other) / max(len(one), len(other)) for one, other in pairs if one or other]
    return float(np.mean(shares)) if shares else 1.0


def _heaviest(rows: SparseVectors, i: int) -> set[int]:
    ids, weights = rows.row(i)
    return {*ids[np.argsort(-weights, kind="stable")[:TERMS]].tolist()}


def _scores(multi: MultiVectors) -> NDArray[np.float32]:
    queries = [multi.row(i) for i in range(0, len(multi), max(1, len(multi) // _QUERIES))]
    offsets = np.cumsum([0, *map(len, queries)], dtype=np.int64)
    return maxsim(np.concatenate(queries), multi.vectors, multi.offsets, query_offsets=offsets)


def comparable(texts: Sequence[str], most: int = 500) -> list[str]:
    """The first 1000 characters of distinct texts that are not empty, `most` of them drawn with a fixed seed."""
    distinct = list(dict.fromkeys(text[:_CHARACTERS] for text in texts if text.strip()))
    if len(distinct) <= most:
        return distinct
    return [distinct[i] for i in sorted(np.random.default_rng(0).choice(len(distinct), most, replace=False).tolist())]
