"""Bytes that documents take: in each array of an index, and in the files of m3rt encode. Arithmetic alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np

from ..index.store.precisions import COLBERT, DENSE, StoredArray
from ..index.store.signs import has_signs
from ..quantization import DENSE_PRECISIONS
from .texts import distinct_pieces, frequent_pieces, text_bytes

_ROW_BYTES = 40  # of an index: key, place in the order of keys, and three offsets
# Of an index: the document's list has id and weight, the term's list has document and weight. Left out: 16 bytes for
# each piece that occurs at all, up to 4 MB with XLM-R's.
_TERM_BYTES = 16
_WORD_BITS = 64  # of signs
_JSON_BYTES = 30  # around the text of a stored document


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents, or the chunks that they are cut into, by their number and their mean length in tokens.

    terms: distinct tokens of one, and text_bytes: UTF-8 bytes of one; by default those of prose in Latin letters.
    frequent: tokens that are in a tenth of the rows, for each of which an index has a byte a row; by default of one
    language.
    """

    rows: int
    tokens: float
    terms: float | None = None
    text_bytes: float | None = None
    frequent: float | None = None

    @property
    def distinct(self) -> float:
        """Distinct tokens of a row."""
        return distinct_pieces(self.tokens) if self.terms is None else self.terms

    @property
    def columns(self) -> float:
        """Tokens that are in a tenth of the rows."""
        return frequent_pieces(self.tokens) if self.frequent is None else self.frequent

    @property
    def characters(self) -> float:
        """UTF-8 bytes of a row's text."""
        return text_bytes(self.tokens) if self.text_bytes is None else self.text_bytes


def vector_bytes(arrays: Mapping[str, StoredArray], dim: int) -> float:
    """Bytes of one vector in the arrays of a precision."""
    return sum(np.dtype(a.dtype).itemsize * (dim / a.components if a.components else 1) for a in arrays.values())


def sign_bytes(dim: int) -> int:
    """Bytes of the signs of one vector, which an index adds where it chooses by them."""
    return 8 * (ceil(dim / _WORD_BITS) + 1)


def index_bytes(
    corpus: Corpus, dim: int, *, dense: str | None, sparse: bool, colbert: str | None, colbert_dim: int = 0
) -> dict[str, float]:
    """Bytes of an index by part: documents, dense, sparse, colbert; of parts that it has."""
    parts = {"documents": corpus.rows * (_ROW_BYTES + _JSON_BYTES + corpus.characters)}
    if dense:
        signs = sign_bytes(dim) if has_signs(dense, corpus.rows) else 0
        parts["dense"] = corpus.rows * (vector_bytes(DENSE[dense].arrays, dim) + signs)
    if sparse:
        parts["sparse"] = corpus.rows * (_TERM_BYTES * corpus.distinct + corpus.columns + 8)
    if colbert:
        vectors = corpus.rows * (corpus.tokens - 1)
        parts["colbert"] = vectors * vector_bytes(COLBERT[colbert].arrays, colbert_dim) + 8 * corpus.rows
    return parts


def encoded_bytes(dim: int, precision: str) -> int:
    """Bytes of a dense vector of m3rt encode --dense-precision."""
    widths = dict(zip(DENSE_PRECISIONS, (4 * dim, dim, dim, -(-dim // 8), -(-dim // 8)), strict=True))
    return widths[precision]


def view_bytes(dim: int, colbert_dim: int, corpus: Corpus) -> list[tuple[str, str, float]]:
    """View, precision and bytes of one document for everything that an index or m3rt encode can store."""
    tokens, terms = corpus.tokens, corpus.distinct
    rows = [("dense", name, float(encoded_bytes(dim, name))) for name in ("float32", "int8", "binary")]
    rows.append(("dense", "binary+int8 (index)", vector_bytes(DENSE["binary+int8"].arrays, dim) + sign_bytes(dim)))
    if colbert_dim:
        rows.append(("sparse", "file", 8 * terms + 8))
        rows.append(("sparse", "index", _TERM_BYTES * terms + corpus.columns + 8))
        rows.append(("colbert", "float32 (file)", 4 * colbert_dim * (tokens - 1)))
        rows += [("colbert", name, vector_bytes(p.arrays, colbert_dim) * (tokens - 1)) for name, p in COLBERT.items()]
    return rows
