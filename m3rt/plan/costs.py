"""Hours and dollars, from the tokens that a machine encodes in a second and its price."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from .models import Checkpoint

QUERY_TOKENS = 16
# m3rt bench, int8, 8 texts of 128 tokens, two vCPUs of an AMD EPYC (Zen 5, AVX-512 VNNI).
_MEASURED_TOKENS_PER_S = {"BAAI/bge-m3": 1913.0, "m3-tiny": 80_000.0}
_MEASURED_QUERY_MS = {"BAAI/bge-m3": 21.0, "m3-tiny": 0.7}
_REFERENCE = ("BAAI/bge-m3", 303.0)  # whose figures are scaled by the parameters of layers
_PRECISION_SPEED = {"int8": 1.0, "fp32": 506 / 1913, "fp16": 506 / 1913}  # fp16 is for GPUs; a CPU computes it as fp32
SCAN_BYTES_PER_S = 4e9  # of vectors that a search reads on two vCPUs


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
    factor = _PRECISION_SPEED[precision]
    name, size = _REFERENCE
    scale = size / model.layer_parameters
    rate = _MEASURED_TOKENS_PER_S.get(model.name, _MEASURED_TOKENS_PER_S[name] * scale) * factor
    query = _MEASURED_QUERY_MS.get(model.name, _MEASURED_QUERY_MS[name] / scale) / factor
    if tokens_per_s is not None:
        return Speed(tokens_per_s, query * rate / tokens_per_s, "given")
    origin = "measured on two vCPUs" if model.name in _MEASURED_TOKENS_PER_S else f"{name}'s, scaled by parameters"
    return Speed(rate, query, origin)


def cost(tokens: float, rate: Speed, dollars_an_hour: float, hours: float, query_ms: float) -> Cost:
    """hours: in which the corpus must be encoded, by as many machines as that takes. query_ms: model and search."""
    machine_hours = tokens / rate.tokens_per_s / 3600
    machines = max(1, ceil(machine_hours / hours))
    queries = 1e6 * query_ms / 1000 / 3600 * dollars_an_hour
    return Cost(tokens, machine_hours, machines, machine_hours / machines, machine_hours * dollars_an_hour, queries)


def search_ms(bytes_read: float) -> float:
    """About the milliseconds of an exact search that reads so many bytes of vectors."""
    return 1000 * bytes_read / SCAN_BYTES_PER_S
