"""A recipe: everything that decides a student, read from one TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from m3rt.errors import InputError

from .losses import Weights


@dataclass(frozen=True, slots=True)
class Stage:
    """How one stage is trained: `steps` batches of `tokens` tokens, warmed up over `warmup`, then falling to 0.

    mean: how much of the running mean of the weights each step keeps; 0 for the weights of the last step. careful:
    share of the rate for embeddings and attention, which start with more to lose than the rest.
    """

    steps: int
    tokens: int
    rate: float
    warmup: int = 100
    mean: float = 0.0
    careful: float = 1.0

    def __post_init__(self) -> None:
        shares = 0 < self.rate < 1 and 0 <= self.mean < 1 and 0 < self.careful <= 1
        if min(self.steps, self.tokens, self.warmup) < 1 or not shares:
            raise InputError(
                f"{self}: expected steps, tokens and warmup of at least 1, a rate between 0 and 1, "
                "a mean of 0 to 1, and careful above 0 and at most 1"
            )

    def rate_at(self, step: int) -> float:
        """The learning rate of a step: linear up, linear down."""
        return self.rate * min((step + 1) / self.warmup, (self.steps - step) / max(1, self.steps - self.warmup), 1.0)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a student learns from, its shape, and how long.

    sets: {data set: most pairs of it}. langs: pairs of other languages are left out. components: of the teacher's
    vectors that are kept, the bag's width. colbert: dimensions of ColBERT's vectors. epsilon: of the layer norms, see
    start.initialise. substituted: made-up sentences,
    and with them every word of the teacher's vocabulary; 0 for none of both. passages: for each set and language.
    characters: shortest and longest passage. temperatures: what each view's scores are divided by. weights: of the
    views in the ensemble. warmup: of the layers against the teacher, left out without it. distillation: share of the
    term that follows the ensemble. anchor, lexical: how closely stage 2 keeps the dense view to the mean of its words,
    and the lexical weights to BM25's.
    """

    sets: dict[str, int]
    langs: tuple[str, ...]
    vocabulary: int
    components: int
    hidden: int
    colbert: int
    layers: int
    heads: int
    ffn: int
    positions: int
    epsilon: float
    substituted: int
    passages: int
    characters: tuple[int, int]
    bag: Stage
    together: Stage
    temperatures: Weights
    weights: Weights
    warmup: Stage | None = None
    distillation: float = 1.0
    anchor: float = 5.0
    lexical: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.substituted, self.passages) < 0:
            raise InputError(f"substituted {self.substituted}, passages {self.passages}: expected 0 or more")

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """The recipe of a TOML file; InputError names what is missing, unknown or of the wrong kind."""
        try:
            raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {error}; expected a recipe in TOML") from None
        names = {field.name for field in fields(cls)}
        if unknown := sorted(raw.keys() - names):
            raise InputError(f"{path} has {unknown[0]!r}, expected only {', '.join(sorted(names))}")
        kinds = {"bag": Stage, "warmup": Stage, "together": Stage, "temperatures": Weights, "weights": Weights}
        try:
            values = {key: kinds[key](**value) if key in kinds else _frozen(value) for key, value in raw.items()}
            return cls(**values)
        except TypeError as error:
            raise InputError(f"{path}: {error}; see distill/m3-tiny.toml") from None


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
