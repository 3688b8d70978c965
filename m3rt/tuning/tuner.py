"""Measures engines x threads and then batch budgets on this machine, and chooses the settings to use."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .. import engines
from ..bundle import Bundle
from ..encoder import M3Encoder
from ..engines.profile import Profile, Setting
from ..errors import BundleError, EngineError
from ..host.threads import available_cpus
from ..values.counts import counted
from . import speed

TrialProgress = Callable[[float, str], object]  # takes the fraction of the time, 0..1, and the running trial
LeftOut = Callable[[str, str], object]  # takes the name of an engine that fails, and why it does

BUDGETS = (128, 256, 384, 768, 1536)  # padded tokens of a pass
CARD_BUDGETS = (4096, 8192, 32768, 65536)  # the same on a card
_QUERY_TOKENS, _QUERIES_A_VISIT = 16, 5
_TEXT_TOKENS, _TEXTS_A_VISIT = 256, 16  # the texts have at most so many tokens
_ENGINES_SHARE = 0.5  # of the time, for engines x threads
_MIN_GAIN = 1.03  # over the default: a smaller gain is noise


@dataclass(slots=True)
class Trial:
    """One candidate and the result of each visit: seconds of a query, tokens a second of mixed texts."""

    engine: str
    threads: int
    batch_tokens: int | None = None
    query: list[float] = field(default_factory=list)
    speed: list[float] = field(default_factory=list)
    device: str = "cpu"

    def row(self) -> dict[str, Any]:
        """Return the candidate and its medians, for a table and for JSON; None for a value that was not measured."""
        return {
            "engine": self.engine,
            "threads": self.threads,
            "batch_tokens": self.batch_tokens,
            "query_ms": 1e3 * statistics.median(self.query) if self.query else None,
            "tokens_per_s": statistics.median(self.speed) if self.speed else None,
            "visits": len(self.speed),
        }


def thread_counts(cpus: int) -> list[int]:
    """Return the counts worth trying: all CPUs, half (where two share a core), and of many a quarter."""
    return sorted({cpus, max(1, cpus // 2), *([cpus // 4] if cpus >= 16 else [])}, reverse=True)


def tune(
    bundle: Bundle,
    seconds: float,
    *,
    device: str = "cpu",
    names: Sequence[str] = (),
    progress: TrialProgress = lambda part, running: None,
    left_out: LeftOut = lambda engine, why: None,
) -> Profile:
    """Measure for about `seconds` and return the profile, without saving it. names: engines, default all usable ones.

    device: "cpu", or a card as "cuda:1", where only batch budgets are tried.

    Each round visits every candidate, so that a busy moment of the machine hits all alike. A visit opens an engine and
    closes it: two are never in memory at once. A failing engine is left out and told to `left_out`. Raises EngineError
    when no engine runs.
    """
    clock = _Clock(seconds, progress)
    if device == "cpu":
        names = list(names or engines.usable(bundle))
        trials = [Trial(name, threads) for name in names for threads in thread_counts(available_cpus())]
    else:
        names = ["onnxruntime"]
        trials = [Trial(names[0], available_cpus(), device=device)]
    errors = _rounds(bundle, trials, clock, _ENGINES_SHARE)
    trials = [trial for trial in trials if trial.speed]
    if not trials:
        raise EngineError(f"no engine runs {bundle.path}: {'; '.join(errors.values()) or 'none is installed'}")
    for name, why in errors.items():
        left_out(name, why)
    best = {name: pick(tried) for name in names if (tried := [t for t in trials if t.engine == name])}
    winner = pick(list(best.values()))
    budgets = _budgets(bundle, winner, clock)
    settings = {name: Setting(t.threads, None) for name, t in best.items()}
    settings[winner.engine] = Setting(winner.threads, pick_budget(budgets))
    return Profile(winner.engine, settings, tuple(t.row() for t in (*trials, *budgets) if t.speed))


def pick(trials: Sequence[Trial]) -> Trial:
    """Choose by the geometric mean of query rate and tokens a second; another than the first must be 3% better."""
    best = trials[0]
    for trial in trials[1:]:
        if _score(trial) > _MIN_GAIN * _score(best):
            best = trial
    return best


def pick_budget(trials: Sequence[Trial]) -> int | None:
    """Choose the fastest batch budget; another than the first, the engine's default, must be 3% faster."""
    best, *others = trials
    for trial in others:
        if trial.speed and statistics.median(trial.speed) > _MIN_GAIN * statistics.median(best.speed):
            best = trial
    return best.batch_tokens


def _score(trial: Trial) -> float:
    return math.sqrt(statistics.median(trial.speed) / statistics.median(trial.query))


class _Clock:
    """Measures the time that has passed and reports it to `progress`."""

    def __init__(self, seconds: float, progress: TrialProgress) -> None:
        self._seconds, self._progress = seconds, progress
        self._start = time.perf_counter()

    def passed(self, running: str = "") -> float:
        """Return the fraction of the time that has passed, 1 or more at its end."""
        fraction = (time.perf_counter() - self._start) / self._seconds
        self._progress(min(fraction, 1.0), running)
        return fraction


def _rounds(bundle: Bundle, trials: Sequence[Trial], clock: _Clock, share: float) -> dict[str, str]:
    """Visit every trial in turn until `share` of the time has passed, each at least once; return why engines fail."""
    errors: dict[str, str] = {}
    first = True
    while first or clock.passed() < share:
        for trial in trials:
            if trial.engine in errors or not (first or clock.passed() < share):
                continue
            clock.passed(f"{trial.engine}, {counted(trial.threads, 'thread')}")
            try:
                with _encoder(bundle, trial) as encoder:
                    _visit(encoder, trial)
            except (EngineError, BundleError) as error:
                errors[trial.engine] = str(error)
        first = False
    return errors


def _visit(encoder: M3Encoder, trial: Trial) -> None:
    query = speed.text_of(encoder, _query_tokens(encoder), 0)
    texts = speed.mixed_texts(encoder, _TEXTS_A_VISIT, _longest(encoder))
    once: Mapping[str, Any] = {"runs": 1, "seconds": 0, "min_runs": 1}
    encoder.encode(query, max_length=_query_tokens(encoder))
    times = speed.timed(
        lambda i: encoder.encode(query, max_length=_query_tokens(encoder)),
        runs=_QUERIES_A_VISIT,
        seconds=0,
        min_runs=_QUERIES_A_VISIT,
    )
    trial.query.append(statistics.median(times))
    trial.speed.append(speed.throughput(encoder, texts, _longest(encoder), **once)["median"])


def _budgets(bundle: Bundle, winner: Trial, clock: _Clock) -> list[Trial]:
    """Try batch budgets in turn in one engine, the engine's default first, until the time is up."""
    budgets = BUDGETS if winner.device == "cpu" else CARD_BUDGETS
    trials = [Trial(winner.engine, winner.threads, budget, device=winner.device) for budget in (None, *budgets)]
    engine = _engine(bundle, winner)
    trials = [t for t in trials if t.batch_tokens != engine.batch_tokens]
    encoders = [M3Encoder.with_engine(bundle, engine, batch_tokens=t.batch_tokens) for t in trials]
    texts = speed.mixed_texts(encoders[0], text_count(winner, _longest(encoders[0])), _longest(encoders[0]))
    while clock.passed() < 1 or not all(t.speed for t in trials[:1]):
        for trial, encoder in zip(trials, encoders, strict=True):
            if clock.passed(f"{trial.engine}, batches of {trial.batch_tokens or engine.batch_tokens}") >= 1 and (
                trials[0].speed
            ):
                break
            start = time.perf_counter()
            tokens = int(encoder.encode(texts, max_length=_longest(encoder)).n_tokens.sum())
            trial.speed.append(tokens / (time.perf_counter() - start))
    return trials


def text_count(winner: Trial, longest: int) -> int:
    """How many texts of mixed_lengths() fill two passes of a card's largest budget; on a CPU up to 64, by its speed."""
    if winner.device == "cpu":
        return max(_TEXTS_A_VISIT, min(64, int(statistics.median(winner.speed) * 3 / 64)))
    lengths = speed.mixed_lengths(1000, longest)
    return math.ceil(2 * max(CARD_BUDGETS) * len(lengths) / sum(lengths))


@contextmanager
def _encoder(bundle: Bundle, trial: Trial) -> Iterator[M3Encoder]:
    yield M3Encoder.with_engine(bundle, _engine(bundle, trial), batch_tokens=trial.batch_tokens)


def _engine(bundle: Bundle, trial: Trial) -> engines.Engine:
    return engines.load_engine(bundle, engine=trial.engine, device=trial.device, threads=trial.threads)


def _longest(encoder: M3Encoder) -> int:
    return min(_TEXT_TOKENS, encoder.manifest.max_tokens)


def _query_tokens(encoder: M3Encoder) -> int:
    return min(_QUERY_TOKENS, encoder.manifest.max_tokens)
