"""Fidelity: how near a bundle's outputs are to those of a reference bundle of the same checkpoint."""

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
from ..values.counts import counted
from ..values.ragged import offsets_of

NEIGHBOURS = 10
TERMS = 10
_MAXSIM_QUERIES = 50  # texts that are scored with all texts
_MAX_CHARACTERS = 1000  # kept of a text of a data set


@dataclass(frozen=True, slots=True)
class Fidelity:
    """A bundle's outputs compared with its reference's, over `texts` texts.

    cosine_mean, cosine_min: the cosine of a text's two dense vectors. overlap: the share of its ten nearest neighbours
    among the other texts that both have. sparse_agreement: the share of its ten heaviest terms (all, where it has
    fewer) that both have. colbert_error: the largest difference between the MaxSim scores of about fifty of the texts
    with all texts. The last two are None for a model without these heads.
    """

    texts: int
    cosine_mean: float
    cosine_min: float
    overlap: float
    sparse_agreement: float | None = None
    colbert_error: float | None = None

    @property
    def sample(self) -> str:
        """How many texts were compared, in words."""
        return counted(self.texts, "text")

    def values(self) -> dict[str, float]:
        """Return the numbers that were measured, without the number of texts."""
        return {name: value for name, value in asdict(self).items() if name != "texts" and value is not None}


def built_in_texts() -> list[str]:
    """Return 300 short sentences in 30 languages; the export calibrates int8 with other texts."""
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
    a, b = _dense(model), _dense(reference)
    cosines = np.einsum("nd,nd->n", a, b) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    sparse = colbert = None
    if model.sparse is not None and reference.sparse is not None:
        sparse = _agreement(model.sparse, reference.sparse)
    if model.multi is not None and reference.multi is not None:
        colbert = float(np.abs(_scores(model.multi) - _scores(reference.multi)).max())
    return Fidelity(len(model), float(cosines.mean()), float(cosines.min()), _overlap(a, b), sparse, colbert)


def _dense(embeddings: Embeddings) -> NDArray[np.float64]:
    assert embeddings.dense_vecs is not None
    return embeddings.dense_vecs.astype(np.float64)


def _overlap(model: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    nearest = []
    for vectors in (model, reference):
        similarity = vectors @ vectors.T
        np.fill_diagonal(similarity, -np.inf)
        nearest.append(np.argsort(-similarity, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(vectors) - 1)])
    return float(np.mean([len({*a} & {*b}) / len(a) for a, b in zip(*(n.tolist() for n in nearest), strict=True)]))


def _agreement(model: SparseVectors, reference: SparseVectors) -> float:
    pairs = [(_heaviest(model, i), _heaviest(reference, i)) for i in range(len(reference))]
    shares = [len(a & b) / max(len(a), len(b)) for a, b in pairs if a or b]
    return float(np.mean(shares)) if shares else 1.0


def _heaviest(rows: SparseVectors, i: int) -> set[int]:
    ids, weights = rows.row(i)
    return {*ids[np.argsort(-weights, kind="stable")[:TERMS]].tolist()}


def _scores(multi: MultiVectors) -> NDArray[np.float32]:
    queries = [multi.row(i) for i in range(0, len(multi), max(1, len(multi) // _MAXSIM_QUERIES))]
    offsets = offsets_of(map(len, queries))
    return maxsim(np.concatenate(queries), multi.vectors, multi.offsets, query_offsets=offsets)


def comparable(texts: Sequence[str], limit: int = 500) -> list[str]:
    """Cut distinct texts that are not empty to 1000 characters; draw `limit` with a fixed seed where there are more."""
    distinct = list(dict.fromkeys(text[:_MAX_CHARACTERS] for text in texts if text.strip()))
    if len(distinct) <= limit:
        return distinct
    return [distinct[i] for i in sorted(np.random.default_rng(0).choice(len(distinct), limit, replace=False).tolist())]
