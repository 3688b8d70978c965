"""BM25, the words-only ranking that a model should beat."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from m3rt_kernels import top_k
from numpy.typing import NDArray

from ..host.extras import need
from .modes import DEPTH
from .pools import Task

# Scripts written without spaces: kana, Han, Thai, Lao, Khmer, Burmese.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
# Python does not count vowel signs and accents as letters, so without them words of other scripts would be cut.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
_WORD = re.compile(rf"[{_UNSPACED}]+|(?:[^\W{_UNSPACED}]|[{_MARKS}])+")
_RUN = re.compile(rf"[{_UNSPACED}]+")


def words(text: str) -> list[str]:
    """Split a text into lower-case words; in scripts without spaces, into characters and pairs of neighbours."""
    terms: list[str] = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).lower()):
        if _RUN.fullmatch(word):
            terms += [*word, *(a + b for a, b in pairwise(word))]
        else:
            terms.append(word)
    return terms


def bm25(task: Task) -> list[NDArray[np.int64]]:
    """Rank the documents of each query's pool by BM25 (Lucene's, k1 1.2, b .75), best first.

    Term statistics count all documents, not only the pool. Raises InputError when bm25s is not installed.
    """
    need("eval", "bm25s")
    import bm25s

    index = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
    index.index([words(text) or [""] for text in task.data.corpus.texts], show_progress=False)
    rankings = []
    for text, pool in zip(task.data.queries.texts, task.candidates(), strict=True):
        scores = _scores(index, words(text), len(pool))
        rankings.append(top_k(scores, DEPTH, alive=pool & (scores > 0))[0])
    return rankings


def _scores(index: object, terms: Sequence[str], documents: int) -> NDArray[np.float32]:
    known = [term for term in terms if term in index.vocab_dict]  # type: ignore[attr-defined]
    if not known:
        return np.zeros(documents, np.float32)
    return np.asarray(index.get_scores(known), np.float32)  # type: ignore[attr-defined]
