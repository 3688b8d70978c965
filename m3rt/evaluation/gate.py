"""The quality gate: is a bundle near enough to the float32 bundle of the same checkpoint?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..bundle import Bundle
from ..bundle.manifest import Manifest
from ..embeddings import Embeddings
from ..encoder import M3Encoder, Progress
from ..errors import InputError
from ..text.scripts import scripts
from ..values.counts import counted
from ..version import __version__
from .bootstrap import Difference, difference
from .evaluate import Evaluation, evaluate
from .fidelity import Fidelity, built_in_texts, check_same_model, comparable, fidelity
from .measures import MAIN
from .pair_fidelity import PairFidelity
from .pools import Task

# Lower limits, but upper limits for the names in _UPPER. Those of cosine and overlap lie just below what int8 of a
# trained encoder keeps (.9997, .9992, .964: benchmarks/LOG.md); the others are targets, not measurements.
LIMITS: Mapping[str, float] = {
    "cosine_mean": 0.9995,
    "cosine_min": 0.998,
    "overlap": 0.96,
    "sparse_agreement": 0.95,
    "colbert_error": 0.02,
    "ndcg_loss": 0.003,
}
# 4 bits are for where size decides. All of these are targets: one small model keeps cosines of .998 and .995 and an
# overlap of .89, another .987, .972 and .91, which fails two of them (benchmarks/LOG.md).
INT4_LIMITS: Mapping[str, float] = {
    "cosine_mean": 0.995,
    "cosine_min": 0.98,
    "overlap": 0.88,
    "sparse_agreement": 0.88,
    "colbert_error": 0.05,
    "ndcg_loss": 0.01,
}
_UPPER = ("colbert_error", "ndcg_loss", "score_error")


@dataclass(frozen=True, slots=True)
class Check:
    """One number, its limit, and whether the number is within it."""

    name: str
    value: float
    limit: float
    passed: bool

    @property
    def is_error(self) -> bool:
        """Whether the limit is the most that is allowed, not the least."""
        return self.name.partition(" ")[0] in _UPPER


@dataclass(frozen=True, slots=True)
class Gate:
    """The loss of a bundle against its reference, on one engine.

    changes: nDCG@10 of the model minus that of the reference, by mode, over `datasets`; empty without data sets.
    """

    engine: str
    reference: str
    fidelity: Fidelity | PairFidelity
    datasets: tuple[str, ...]
    changes: Mapping[str, Difference]
    limits: Mapping[str, float]

    @property
    def checks(self) -> list[Check]:
        """Check every number that has a limit. nDCG@10 fails when its loss exceeds both the limit and chance."""
        checks = [
            Check(name, value, limit := self.limits[name], value <= limit if name in _UPPER else value >= limit)
            for name, value in self.fidelity.values().items()
        ]
        limit = self.limits.get("ndcg_loss", 0.0)
        return checks + [
            Check(f"ndcg_loss {mode}", -change.mean, limit, -change.mean <= limit or change.high >= 0)
            for mode, change in self.changes.items()
        ]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return the entry that the manifest keeps."""
        result: dict[str, Any] = {"reference": self.reference, **_rounded(asdict(self.fidelity))}
        if self.datasets:
            changes = {mode: _rounded(asdict(change)) for mode, change in self.changes.items()}
            result |= {"datasets": list(self.datasets), "ndcg_change": changes}
        return result | {"limits": dict(self.limits), "passed": self.passed, "m3rt_version": __version__}


def gate(
    load: Callable[[Bundle], M3Encoder],
    model: Bundle,
    reference: Bundle,
    *,
    tasks: Sequence[Task] = (),
    limits: Mapping[str, float] | None = None,
    progress: Progress = lambda texts, tokens: None,
) -> Gate:
    """Compare two bundles of one checkpoint on the texts of data sets, or on built-in sentences without data sets.

    load: opens the encoder of a bundle; only one is in memory at a time. limits: replace some of limits_of() the
    model. Of the built-in sentences a pruned model gets those in its scripts. Raises InputError for an unknown limit or
    bundles that cannot be compared.
    """
    check_same_model(model.manifest, reference.manifest)
    texts = (
        comparable([text for task in tasks for text in task.data.corpus.texts]) if tasks else _built_in(model.manifest)
    )
    if len(texts) < 2:
        raise InputError(f"the data sets hold {counted(len(texts), 'distinct text')}, expected two or more to compare")

    def outputs(bundle: Bundle) -> tuple[str, Embeddings, list[Evaluation]]:
        encoder = load(bundle)
        embeddings = encoder.encode_corpus(texts, **bundle.manifest.heads.keywords(), show_progress=progress)
        return encoder.engine.name, embeddings, [evaluate(encoder, task, progress=progress) for task in tasks]

    _, expected, references = outputs(reference)
    engine, embeddings, evaluations = outputs(model)
    changes = {
        mode: difference([e.modes[mode][MAIN] for e in evaluations], [r.modes[mode][MAIN] for r in references])
        for mode in (evaluations[0].modes if evaluations else ())
    }
    return Gate(
        engine,
        reference.manifest.precision,
        fidelity(embeddings, expected),
        tuple(task.data.name for task in tasks),
        changes,
        checked_limits(limits or {}, limits_of(model.manifest)),
    )


def limits_of(manifest: Manifest) -> Mapping[str, float]:
    """The limits for an encoder of the manifest's precision."""
    return INT4_LIMITS if manifest.precision == "int4" else LIMITS


def _built_in(manifest: Manifest) -> list[str]:
    pruned = manifest.pruned
    return [text for text in built_in_texts() if pruned is None or scripts(text) <= {*pruned.scripts}]


def checked_limits(limits: Mapping[str, float], known: Mapping[str, float] = LIMITS) -> dict[str, float]:
    """The known limits with some replaced. Raises InputError for a name that is none."""
    if unknown := set(limits) - set(known):
        raise InputError(f"{sorted(unknown)[0]!r:.40} has no limit, expected one of {', '.join(known)}")
    return {**known, **limits}


def _rounded(numbers: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 6) for name, value in numbers.items()}
