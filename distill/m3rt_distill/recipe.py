"""A recipe: the choices that decide a student, read from one TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from m3rt.errors import InputError


class PerView(NamedTuple):
    """One number for each view."""

    dense: float
    sparse: float
    colbert: float


@dataclass(frozen=True, slots=True)
class Stage:
    """How one stage is trained.

    steps: number of batches. tokens: size of a batch. rate: the highest learning rate. warmup: steps until it is
    reached; then it falls to 0. mean: share of the running mean of the weights that each step keeps; 0 ends the stage
    with the weights of its last step. careful: share of the rate for embeddings and attention, which start with more to
    lose than the other weights.
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
        """Return the learning rate of a step: it rises and falls linearly."""
        return self.rate * min((step + 1) / self.warmup, (self.steps - step) / max(1, self.steps - self.warmup), 1.0)


@dataclass(frozen=True, slots=True)
class Recipe:
    """The data that a student learns from, its shape, and the stages of its training.

    sets: {data set: largest number of its pairs}. langs: pairs in other languages are left out.
    vocabulary: number of pieces. components: number of principal components of the teacher's vectors that are kept,
    which is the bag's width. hidden, layers, heads, ffn, positions: sizes of the encoder. colbert: dimensions of
    ColBERT's vectors. epsilon: of the layer norms, see start/layers.py.
    substituted: number of made-up sentences, which come with every word of the teacher's vocabulary; 0 for neither.
    passages: largest number for each set and language. characters: length of the shortest and the longest passage.
    bag, warmup, together: the stages; the warm-up may be left out.
    temperatures: divisors of each view's scores. weights: of the views in the ensemble. distillation: weight of
    following the ensemble beside InfoNCE. anchor, lexical: weights of the losses that keep the dense view to the mean
    of its words, and the lexical weights to BM25's.
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
    temperatures: PerView
    weights: PerView
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
        """Read a TOML file; InputError names a key that is missing, unknown or of the wrong kind."""
        try:
            raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {error}; expected a recipe in TOML") from None
        names = {field.name for field in fields(cls)}
        if unknown := sorted(raw.keys() - names):
            raise InputError(f"{path} has {unknown[0]!r}, expected only {', '.join(sorted(names))}")
        kinds = {"bag": Stage, "warmup": Stage, "together": Stage, "temperatures": PerView, "weights": PerView}
        try:
            values = {key: kinds[key](**value) if key in kinds else _frozen(value) for key, value in raw.items()}
            return cls(**values)
        except TypeError as error:
            raise InputError(f"{path}: {error}; see distill/m3-tiny.toml") from None


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
