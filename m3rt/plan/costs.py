"""Hours and dollars, from the tokens that a machine encodes in a second and its price."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ..index.store.signs import has_signs
from .models import Checkpoint
from .sizes import sign_bytes

QUERY_TOKENS = 16
# m3rt bench, int8, 8 texts of 128 tokens, two vCPUs of an AMD EPYC (Zen 5, AVX-512 VNNI).
_MEASURED_TOKENS_PER_S = {"BAAI/bge-m3": 1913.0, "m3-tiny": 80_000.0}
_MEASURED_QUERY_MS = {"BAAI/bge-m3": 21.0, "m3-tiny": 0.7}
_REFERENCE = ("BAAI/bge-m3", 303.0)  # whose figures are scaled by the parameters of layers
# fp16 is for GPUs; a CPU computes it as fp32. int4 in the layers: 1.55 times int8's CPU time on AVX2 (LOG.md).
_PRECISION_SPEED = {"int8": 1.0, "int4": 1 / 1.55, "fp32": 506 / 1913, "fp16": 506 / 1913}
# CPU time of one thread of an EPYC (Zen 3), benchmarks/LOG.md, "search among a million documents": 200,000 int8 rows of
# 1,028 bytes in 20 ms; the signs of a million, 132 bytes each, in 25 ms; 1.3 ms for int8 of the rows that signs choose.
_CODE_BYTES_PER_S, _SIGN_BYTES_PER_S, _RESCORING_MS = 1.03e10, 5.3e9, 1.3
# Lexical search of 100,000 documents: benchmarks/results/search.md, 0.63 ms. Assumed to grow with the rows.
_LEXICAL_MS_A_ROW = 6.3e-6


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second of one machine, the milliseconds of a query of 16 tokens, and where they come from."""

    tokens_per_s: float
    query_ms: float
    origin: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What encoding a corpus takes, and what a million queries cost."""

    tokens: float
    machine_hours: float
    machines: int
    hours: float
    dollars: float
    dollars_a_million_queries: float


def speed(model: Checkpoint, precision: str, tokens_per_s: float | None = None) -> Speed:
    """The given tokens a second, or those measured for a model on two vCPUs, or those of BGE-M3 scaled by its size."""
    factor = _PRECISION_SPEED["int8" if precision == "int4" and model.narrow else precision]
    name, size = _REFERENCE
    scale = size / model.layer_parameters
    rate = _MEASURED_TOKENS_PER_S.get(model.name, _MEASURED_TOKENS_PER_S[name] * scale) * factor
    query = _MEASURED_QUERY_MS.get(model.name, _MEASURED_QUERY_MS[name] / scale) / factor
    if tokens_per_s is not None:
        return Speed(tokens_per_s, query * rate / tokens_per_s, "given")
    origin = "measured on two vCPUs" if model.name in _MEASURED_TOKENS_PER_S else f"{name}'s, scaled by parameters"
    if factor != 1:
        origin += f", times {factor:.2g} for {precision}"
    return Speed(rate, query, origin)


def cost(tokens: float, rate: Speed, dollars_an_hour: float, hours: float, query_ms: float) -> Cost:
    """hours: in which the corpus must be encoded, by as many machines as that takes. query_ms: model and search."""
    machine_hours = tokens / rate.tokens_per_s / 3600
    machines = max(1, ceil(machine_hours / hours))
    queries = 1e6 * query_ms / 1000 / 3600 * dollars_an_hour
    return Cost(tokens, machine_hours, machines, machine_hours / machines, machine_hours * dollars_an_hour, queries)


def search_ms(rows: int, dim: int, dense: str, sparse: bool) -> float:
    """About the milliseconds of a search of one thread in an index: a scan of vectors or of signs, and term lists."""
    lexical = _LEXICAL_MS_A_ROW * rows if sparse else 0.0
    if dense == "binary":
        return lexical + 1000 * rows * dim / 8 / _SIGN_BYTES_PER_S
    if has_signs(dense, rows):
        return lexical + 1000 * rows * sign_bytes(dim) / _SIGN_BYTES_PER_S + _RESCORING_MS
    return lexical + 1000 * rows * (dim + 4) / _CODE_BYTES_PER_S
