"""The path from a recipe to a student, step by step; each step keeps its result in OUT and is not repeated.

read recipe -> vocabulary -> lessons -> bag -> whiten -> align -> translate -> table -> layers -> warm-up -> together
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .constants import VOCABULARY
from .data.corpus import PIVOT, Corpus, read_corpus
from .data.lessons import Lessons, prepare
from .data.teacher import Teacher
from .data.vocabulary import TOKENIZER, Vocabulary, prune, read_tokenizer
from .recipe import Recipe
from .start.alignment import align_languages
from .start.channels import student_table, whiten
from .start.dictionary import add_nearest, find_links, move_to_meanings, senses_of
from .start.layers import initialise
from .student import checkpoint
from .student.model import Shape, Student
from .training.bag import Bag, bag_losses, starting_table
from .training.plot import plot
from .training.run import train
from .training.stages import together_losses, warmup_losses


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Everything that the steps share.

    data: the directory of the data sets. teacher: the teacher's bundle. out: the directory of all results. device: of
    PyTorch. engine, threads: of the teacher. heads_of: an XLM-R checkpoint that gets heads and stays as it is; None
    makes a new student.
    """

    recipe: Recipe
    data: Path
    teacher: Path
    out: Path
    device: str = "cpu"
    engine: str = "auto"
    threads: int | None = None
    heads_of: Path | None = None

    def run(self) -> Path:
        """Take all steps and return the checkpoint of the trained student."""
        self.out.mkdir(parents=True, exist_ok=True)
        vocabulary = self._vocabulary()
        lessons = self._lessons(vocabulary)
        student = _frozen_encoder(self.heads_of) if self.heads_of else self._warm_student(lessons, vocabulary)
        student.to(self.device)
        losses = together_losses(student, lessons, self.recipe, vocabulary.rarity, self.device)
        run = train(student, self.recipe.together, losses, self.out / "together.pt", "together")
        plot(run.history, self.out / "together.svg")
        checkpoint.save(student, vocabulary.tokenizer_json, self.out / "student")
        return self.out / "student"

    def _vocabulary(self) -> Vocabulary:
        if self.heads_of:  # the encoder has a vocabulary already, and only warm-up would need its rarity
            return Vocabulary.whole(read_tokenizer(self.heads_of / TOKENIZER))
        directory = self.out / "vocabulary"
        if not (directory / TOKENIZER).is_file():
            corpus = read_corpus(self.data / name for name in self.recipe.sets)
            texts = _sample(corpus, self.recipe)
            prune(read_tokenizer(self.teacher / TOKENIZER), texts, self.recipe.vocabulary).save(directory)
        return Vocabulary.read(directory)

    def _lessons(self, vocabulary: Vocabulary) -> Lessons:
        path = self.out / "lessons.npz"
        if not path.is_file():
            teacher = Teacher(self.teacher, self.out / "teacher", engine=self.engine, threads=self.threads)
            prepare(self.recipe, self.data, vocabulary, teacher).save(path)
        return Lessons.read(path)

    def _warm_student(self, lessons: Lessons, vocabulary: Vocabulary) -> Student:
        """Train the bag, make the table and the layers from it, and warm the layers up if the recipe says so."""
        recipe = self.recipe
        shape = _shape(recipe, vocabulary)  # sizes that do not fit are an error before the bag is trained
        words, senses = words_and_senses(self._bag(lessons, vocabulary), lessons, vocabulary, recipe)
        table = student_table(words, vocabulary.rarity, recipe.hidden, senses, recipe.seed)
        student = initialise(shape, table, recipe.seed)
        # The table has words that no text of the later stages has; only the bag's stage keeps them in step.
        student.backbone.embeddings.word_embeddings.requires_grad_(False)
        if recipe.warmup:
            student.to(self.device)
            losses = warmup_losses(student, lessons, recipe.warmup, recipe.seed, vocabulary.rarity, self.device)
            run = train(student, recipe.warmup, losses, self.out / "warmup.pt", "warm-up")
            plot(run.history, self.out / "warmup.svg")
        checkpoint.save(student, vocabulary.tokenizer_json, self.out / "warm")
        return student

    def _bag(self, lessons: Lessons, vocabulary: Vocabulary) -> Tensor:
        """Train the bag, and return its table (vocab, components)."""
        bag = Bag(starting_table(lessons.pieces, vocabulary.rarity))
        bag.to(self.device)
        losses = bag_losses(bag, lessons, self.recipe, self.device)
        run = train(bag, self.recipe.bag, losses, self.out / "bag.pt", "bag")
        plot(run.history, self.out / "bag.svg")
        return bag.table.weight.detach().cpu()


def words_and_senses(
    bag: Tensor, lessons: Lessons, vocabulary: Vocabulary, recipe: Recipe
) -> tuple[Tensor, NDArray[np.int64]]:
    """Turn a bag's table into word directions (vocab, components - 1), and find each piece's sense (vocab,).

    The bag's last channel, the log of a token's weight, is left out: the student's table has the rarity for it.
    Languages are aligned twice, before and after words move to their translations.
    """
    pivot = recipe.langs.index(PIVOT) if PIVOT in recipe.langs else 0
    words = whiten(bag[:, :-1])
    links = find_links(lessons, len(words), pivot)
    words = move_to_meanings(align_languages(words, vocabulary.rarity, lessons, pivot), links)
    words = align_languages(words, vocabulary.rarity, lessons, pivot)
    return words, senses_of(add_nearest(links, words, lessons, pivot), len(words))


def _frozen_encoder(directory: Path) -> Student:
    student = checkpoint.load(directory)
    student.backbone.requires_grad_(False)
    return student


def _shape(recipe: Recipe, vocabulary: Vocabulary) -> Shape:
    return Shape(
        len(vocabulary.kept), recipe.hidden, recipe.layers, recipe.heads, recipe.ffn, recipe.positions,
        recipe.epsilon, recipe.colbert,
    )  # fmt: skip


def _sample(corpus: Corpus, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield (text, language) of some texts in each of the recipe's languages, chosen by its seed."""
    by_lang: dict[str, list[str]] = {lang: [] for lang in recipe.langs}
    for text, lang in zip(corpus.texts, corpus.langs, strict=True):
        if lang in by_lang:
            by_lang[lang].append(text)
    for lang, texts in by_lang.items():
        random.Random(recipe.seed).shuffle(texts)
        yield from ((text, lang) for text in texts[: VOCABULARY.sample_texts_per_language])
