"""Scoring kernels over ragged arrays; they know arrays only.

Ragged rows are flat values and offsets (n + 1,): row i is values[offsets[i]:offsets[i + 1]]. Where the rows are CSR the
same array is called indptr, as in scipy. compiler/jit.py shows the shape of a kernel and of its numpy twin.
"""

from .compiler.warm import warm
from .dense.scores import dense_scores, dense_top_k, dense_top_k_binary, dense_top_k_int8
from .dense.signs import Signs, check_signs, dense_top_k_signs, sign_words
from .fusion import rrf
from .inverted.index import InvertedIndex
from .late_interaction.maxsim import maxsim, maxsim_binary, maxsim_int8
from .quantize import pack_bits, quantize_centred, quantize_int8
from .sparse import scatter_max, sparse_dot, sparse_dot_rows
from .top_k import top_k

__all__ = [
    "InvertedIndex",
    "Signs",
    "check_signs",
    "dense_scores",
    "dense_top_k",
    "dense_top_k_binary",
    "dense_top_k_int8",
    "dense_top_k_signs",
    "maxsim",
    "maxsim_binary",
    "maxsim_int8",
    "pack_bits",
    "quantize_centred",
    "quantize_int8",
    "rrf",
    "scatter_max",
    "sign_words",
    "sparse_dot",
    "sparse_dot_rows",
    "top_k",
    "warm",
]
