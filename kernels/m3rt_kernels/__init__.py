"""Scoring kernels over ragged arrays (flat values + offsets); they know arrays only."""

from .maxsim import maxsim
from .sparse import intersect_dot, scatter_max

__all__ = ["intersect_dot", "maxsim", "scatter_max"]
