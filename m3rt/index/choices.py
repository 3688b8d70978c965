"""Names that options of an index take. This module imports no arrays: the command line shows the names in its help."""

from __future__ import annotations

from typing import Literal, get_args

DEFAULT_DENSE = "int8"
DENSE_PRECISIONS = ("float32", "int8", "binary", "binary+int8")
COLBERT_PRECISIONS = ("int8", "binary", "binary+int8")

SearchMode = Literal["hybrid", "dense", "sparse", "colbert"]
MODES: tuple[SearchMode, ...] = get_args(SearchMode)
