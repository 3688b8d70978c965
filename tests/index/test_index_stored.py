"""stored(): an index gives back what it holds, as precise as it stores it, and nothing that was deleted."""

from pathlib import Path

import numpy as np
import pytest
from corpus import DIM, documents, embeddings, rounded

from m3rt import HybridIndex, InputError

DOCS = documents(50)
IDS = [f"doc-{i}" for i in range(len(DOCS))]


def filled(path: Path, dense: str | None, colbert: str | None, *, sparse: bool = True) -> HybridIndex:
    index = HybridIndex.create(path, dense=dense, sparse=sparse, colbert=colbert, dim=DIM)
    metadata = [{"n": i} for i in range(len(DOCS))]
    index.add(IDS[:30], [f"text {i}" for i in range(30)], embeddings=embeddings(DOCS[:30]), metadata=metadata[:30])
    index.add(IDS[30:], embeddings=embeddings(DOCS[30:]), metadata=metadata[30:])
    index.delete(["doc-4", "doc-44"])
    return index


def signs(vectors: np.ndarray) -> np.ndarray:
    return np.where(vectors >= 0, 1, -1) / np.sqrt(DIM)


@pytest.mark.parametrize(
    ("dense", "colbert", "kept"),
    [("float32", "int8", lambda v: v), ("int8", "binary+int8", rounded), ("binary", "binary", signs)],
)
def test_vectors_come_back_as_precise_as_they_are_stored(
    dense: str, colbert: str, kept: object, tmp_path: Path
) -> None:
    assert callable(kept)
    tokens = signs if colbert == "binary" else rounded
    seen = []
    for part in filled(tmp_path / "index", dense, colbert).stored(7):
        assert 0 < len(part.rows) <= 7
        places = list(range(len(part.rows)))[::-1]
        out = part.embeddings(places)
        assert out.dense_vecs is not None
        assert out.multi is not None
        for j, place in enumerate(places):
            row = part.rows[place]
            doc = DOCS[int(row.id.removeprefix("doc-"))]
            np.testing.assert_allclose(out.dense_vecs[j], kept(doc.dense[None])[0], atol=1e-6)
            np.testing.assert_allclose(out.multi.row(j), tokens(doc.colbert), atol=1e-6)
            assert (out.lexical_weights or [])[j] == pytest.approx(doc.terms)
            seen.append((row.id, row.text, row.metadata))
    wanted = [(name, f"text {i}" if i < 30 else None, {"n": i}) for i, name in enumerate(IDS) if i not in (4, 44)]
    assert sorted(seen) == sorted(wanted)


def test_a_view_that_is_not_stored_is_none(tmp_path: Path) -> None:
    part = next(filled(tmp_path / "index", None, "int8", sparse=False).stored())
    out = part.embeddings([0, 2])
    assert (len(out), out.dense_vecs, out.sparse) == (2, None, None)
    assert out.multi is not None


def test_a_batch_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="batch is 0"):
        filled(tmp_path / "index", "int8", None).stored(0)
