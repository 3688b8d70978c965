"""The outputs of FlagEmbedding's encode(), made of Embeddings."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from ..embeddings import Embeddings


def outputs(out: Embeddings, *, single: bool) -> dict[str, Any]:
    """Return each output by FlagEmbedding's name, None where it was not requested; of a `single` text, unwrapped."""
    columns = {"dense_vecs": out.dense_vecs, "lexical_weights": _weights(out), "colbert_vecs": out.colbert_vecs}
    if single:
        return {name: None if column is None else column[0] for name, column in columns.items()}
    return columns


def _weights(out: Embeddings) -> list[dict[str, np.float32]] | None:
    """Make lexical weights as FlagEmbedding does: ids as strings, weights as numpy scalars, 0 for any other id."""
    if out.sparse is None:
        return None
    rows = (out.sparse.row(i) for i in range(len(out)))
    return [defaultdict(int, zip(map(str, ids.tolist()), values, strict=True)) for ids, values in rows]  # type: ignore[arg-type]
