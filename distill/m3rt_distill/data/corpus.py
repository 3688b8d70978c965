"""Training texts: translations and questions in pairs, each with the text whose teacher vector both sides learn."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3rt.errors import InputError

PAIRS, TEXTS = "pairs.jsonl", "texts.jsonl"
PIVOT = "en"  # the teacher is strongest in it, so if one side of a pair is English, both sides learn that vector


@dataclass(frozen=True, slots=True)
class Corpus:
    """Unique texts with their languages, and pairs of them that mean the same.

    pairs: (n, 2) int32 indices of texts; a text without translation is paired with itself. taught: (n,) int32, the
    text whose teacher vector both sides learn. sets: (n,) the name of the data set that each pair came from.
    """

    texts: list[str]
    langs: list[str]
    pairs: NDArray[np.int32]
    taught: NDArray[np.int32]
    sets: list[str]

    def __post_init__(self) -> None:
        n = len(self.pairs)
        if self.pairs.shape != (n, 2) or self.taught.shape != (n,) or len(self.sets) != n:
            raise InputError(
                f"pairs {self.pairs.shape}, taught {self.taught.shape}, {len(self.sets)} sets: expected n of each"
            )
        if n and not 0 <= self.pairs.min() <= self.pairs.max() < len(self.texts):
            raise InputError(f"pairs reach text {self.pairs.max()}, expected below {len(self.texts)}")


def read_corpus(directories: Iterable[Path]) -> Corpus:
    """Read the pairs.jsonl {a, b, lang_a, lang_b} or texts.jsonl {text, lang} of each directory.

    Repeated pairs count once. Raises InputError, naming file and line, for a row of another kind.
    """
    index: dict[str, int] = {}
    langs: list[str] = []
    rows: dict[tuple[int, int], tuple[int, str]] = {}

    def add(text: str, lang: str) -> int:
        if (number := index.setdefault(text, len(langs))) == len(langs):
            langs.append(lang)
        return number

    for directory in directories:
        for a, b, lang_a, lang_b in _read_rows(directory):
            first, second = add(a, lang_a), add(b, lang_b)
            teacher_text = second if lang_b == PIVOT != lang_a else first
            rows.setdefault((first, second), (teacher_text, directory.name))
    pairs = np.array(list(rows), np.int32).reshape(-1, 2)
    taught = np.array([text for text, _ in rows.values()], np.int32)
    return Corpus(list(index), langs, pairs, taught, [name for _, name in rows.values()])


def _read_rows(directory: Path) -> Iterator[tuple[str, str, str, str]]:
    path = next((p for name in (PAIRS, TEXTS) if (p := directory / name).is_file()), None)
    if path is None:
        raise InputError(f"{directory} has no {PAIRS} and no {TEXTS}, expected one; check the path")
    keys = ("a", "b", "lang_a", "lang_b") if path.name == PAIRS else ("text", "text", "lang", "lang")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                a, b, lang_a, lang_b = (row[key].strip() for key in keys)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"{path}:{number} is no row ({error!r}), expected the texts {', '.join(keys)}"
                ) from None
            if a and b:
                yield a, b, lang_a, lang_b
