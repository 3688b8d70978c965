"""What a plan depends on: the corpus, the machine and the budgets."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from ..errors import InputError
from ..values.arguments import choice_of, whole_number

Target = Literal["edge", "server", "cloud"]
TARGETS: tuple[Target, ...] = get_args(Target)
MIN_UNMEASURED_DIM = 64  # with fewer components, Matryoshka vectors must be measured first
MIN_COLBERT_DOCUMENTS = 10_000  # with fewer, a reranker reads them as well and nothing is stored for it


@dataclass(frozen=True, slots=True)
class Questions:
    """The answers; each field has a default. Raises InputError for one that is out of range.

    tokens: of a document on average. latency_ms: of a query, model and search. storage_gb: of the index or the
    database. dollars_an_hour: of one machine. tokens_per_s: what one machine encodes, as m3rt bench measures it. dim:
    components kept of dense vectors. measured: m3rt plan --data has measured the choice.
    """

    documents: int = 100_000
    languages: tuple[str, ...] = ("en",)
    domain: str = "general"
    tokens: int = 256
    target: Target = "server"
    latency_ms: float | None = None
    storage_gb: float | None = None
    dollars_an_hour: float = 0.1
    tokens_per_s: float | None = None
    hours: float = 24.0
    dim: int | None = None
    colbert: bool = False
    measured: bool = False

    def __post_init__(self) -> None:
        whole_number("documents", self.documents, 1, 10**12)
        whole_number("tokens", self.tokens, 1, 10**7)
        choice_of("target", self.target, TARGETS)
        if not self.languages or not all(isinstance(code, str) and code.isalpha() for code in self.languages):
            raise InputError(f"languages is {self.languages!r:.60}, expected codes such as en,de,zh")
        for name in ("latency_ms", "storage_gb", "dollars_an_hour", "tokens_per_s", "hours"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name} is {value!r:.40}, expected a number above 0")
        if (
            self.dim is not None
            and whole_number("dim", self.dim, 1, 1 << 16) < MIN_UNMEASURED_DIM
            and not self.measured
        ):
            raise InputError(
                f"dim is {self.dim}, expected {MIN_UNMEASURED_DIM} or more: below, quality falls differently on every "
                "corpus; measure it on labelled data with --data DIR"
            )

    def defaults(self, answered: set[str]) -> dict[str, Any]:
        """The questions that nobody answered, with the values that stand for them."""
        names = [f.name for f in fields(self) if f.name not in (*answered, "measured", "colbert")]
        return {name: value for name in names if (value := getattr(self, name)) is not None}
