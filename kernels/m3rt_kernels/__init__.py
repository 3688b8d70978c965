"""Scoring kernels over ragged arrays (flat values + offsets); they know arrays only."""

from .maxsim import maxsim, maxsim_binary, maxsim_int8
from .quantize import pack_bits, quantize_int8
from .sparse import intersect_dot, scatter_max

__all__ = ["intersect_dot", "maxsim", "maxsim_binary", "maxsim_int8", "pack_bits", "quantize_int8", "scatter_max"]
