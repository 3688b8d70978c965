"""The lessons of a student, prepared once: token ids, the teacher's vectors, and which texts belong together."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from m3rt.errors import InputError
from m3rt.host.files import replacing

from ..constants import PASSAGES
from ..recipe import Recipe
from .corpus import Corpus, read_corpus
from .passages import make_passages
from .substitution import with_made_up
from .teacher import Projection, Teacher, unit
from .vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Lessons:
    """Token ids and targets.

    ids (tokens,) int32 with offsets (texts + 1,): <s> ... </s>, cut to the student's positions. langs (texts,) int16:
    numbers of the recipe's languages, -1 for passages, which may mix them. pairs (n, 2): texts that mean the same, and
    target (n,): their row of vectors (targets, components) float16. The last `passages` pairs are passages, and members
    (passages, 4, 2) are both sides of sentences in each. pieces (vocab, components): the teacher's projected vector of
    each piece.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    langs: NDArray[np.int16]
    pairs: NDArray[np.int32]
    target: NDArray[np.int32]
    vectors: NDArray[np.float16]
    members: NDArray[np.int32]
    pieces: NDArray[np.float32]

    @property
    def passages(self) -> int:
        """The number of pairs, counted from the end, that are passages."""
        return len(self.members)

    def text(self, index: int) -> NDArray[np.int32]:
        """Return the token ids of one text, a view."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def save(self, path: Path) -> None:
        """Write all arrays, as a whole or not at all."""
        with replacing(path) as aside, aside.open("wb") as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def read(cls, path: Path) -> Lessons:
        """Read a file of save(); InputError if it lacks an array."""
        arrays = np.load(path)
        if missing := [field.name for field in fields(cls) if field.name not in arrays]:
            raise InputError(f"{path} has no {', '.join(missing)}, expected what this version prepares; remove it")
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def choose(corpus: Corpus, recipe: Recipe) -> Corpus:
    """Keep the recipe's languages of a corpus, and at most its number of pairs from each set, chosen by its seed."""
    random = np.random.default_rng(recipe.seed)
    sets = np.array(corpus.sets)
    spoken = np.isin(np.array(corpus.langs)[corpus.pairs], recipe.langs).all(axis=1)
    rows = []
    for name, most in recipe.sets.items():
        candidates = np.flatnonzero((sets == name) & spoken)
        rows.append(np.sort(random.permutation(candidates)[:most]))
    kept = np.concatenate(rows)
    used, pairs = np.unique(corpus.pairs[kept], return_inverse=True)
    return Corpus(
        texts=[corpus.texts[i] for i in used],
        langs=[corpus.langs[i] for i in used],
        pairs=pairs.reshape(-1, 2).astype(np.int32),
        taught=np.searchsorted(used, corpus.taught[kept]).astype(np.int32),
        sets=[corpus.sets[i] for i in kept],
    )


def prepare(recipe: Recipe, data: Path, vocabulary: Vocabulary, teacher: Teacher) -> Lessons:
    """Get the teacher's vectors for the recipe's texts, and tokenise the texts with the student's vocabulary."""
    corpus = choose(read_corpus(data / name for name in recipe.sets), recipe)
    if recipe.substituted:
        corpus = with_made_up(corpus, teacher, recipe.substituted, recipe.seed)
    taught, target = np.unique(corpus.taught, return_inverse=True)
    raw = teacher.vectors([corpus.texts[i] for i in taught])
    project = Projection.fit(raw, recipe.components)
    vectors = project(raw)
    passages = make_passages(corpus, vectors[target], recipe.passages, recipe.characters, recipe.seed)
    # A passage learns the mean of its sentences' vectors: the teacher's vector of it is nearly the same, but slow.
    passage_vectors = unit(np.array([vectors[target[list(p.members)]].mean(axis=0) for p in passages]))
    extra = [text for passage in passages for text in (passage.pivot, passage.text)]
    sides = len(corpus.texts) + np.arange(len(extra), dtype=np.int32).reshape(-1, 2)
    tokenizer = vocabulary.load()
    tokenizer.enable_truncation(recipe.positions - 2)
    ids, offsets = _tokenise(tokenizer, [*corpus.texts, *extra])
    return Lessons(
        ids=ids,
        offsets=offsets,
        langs=np.array([*map(recipe.langs.index, corpus.langs), *([-1] * len(extra))], np.int16),
        pairs=np.concatenate([corpus.pairs, sides]),
        target=np.concatenate([target, len(taught) + np.arange(len(passages))]).astype(np.int32),
        vectors=np.concatenate([vectors, passage_vectors]).astype(np.float16),
        members=np.array([[corpus.pairs[m] for m in _query_members(p.members)] for p in passages], np.int32),
        pieces=piece_vectors(vocabulary, teacher, project),
    )


def piece_vectors(vocabulary: Vocabulary, teacher: Teacher, project: Projection) -> NDArray[np.float32]:
    """Return (vocab, components): the teacher's projected vector of each piece alone; special tokens by their names."""
    pieces = [piece.replace("▁", " ").strip() or piece for piece, _ in vocabulary.tokenizer_json["model"]["vocab"]]
    return project(teacher.vectors(pieces))


def _query_members(members: tuple[int, ...]) -> list[int]:
    return [members[i % len(members)] for i in range(PASSAGES.query_sentences)]


def _tokenise(tokenizer: Tokenizer, texts: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    rows = [np.array(encoding.ids, np.int32) for encoding in tokenizer.encode_batch_fast(texts)]
    return np.concatenate(rows), np.concatenate([[0], np.cumsum([len(ids) for ids in rows])])
