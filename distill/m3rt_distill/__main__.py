"""python -m m3rt_distill: train a student, or fit heads to an encoder that has none."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import torch

from m3rt.errors import M3rtError

from . import checkpoint
from .alignment import aligned
from .bag import Bag, bag_losses, starting_table
from .channels import student_table, whitened
from .data import PIVOT, Corpus, read_corpus
from .dictionary import guessed, nearer, senses, translations
from .lessons import Lessons, prepare
from .plot import plot
from .recipe import Recipe
from .start import initialise
from .student import Shape, Student
from .teacher import Teacher
from .training import Run, together_losses, train, warmup_losses
from .vocabulary import TOKENIZER, Vocabulary, prune, read_tokenizer

_SAMPLE = 8000  # texts of each language that the vocabulary is chosen by

_folder = click.Path(file_okay=False, path_type=Path)
_existing = click.Path(exists=True, path_type=Path)


@click.group(help=__doc__)
def main() -> None: ...


@main.command("train")
@click.argument("recipe", type=_existing)
@click.option("--data", type=_existing, required=True, help="Directory that holds the recipe's data sets.")
@click.option("--teacher", type=_existing, required=True, help="The teacher's bundle, made by m3rt export.")
@click.option("--out", type=_folder, required=True, help="Everything goes here; the same again resumes.")
@click.option("--device", default="cpu", show_default=True, help="Where PyTorch trains, such as cuda.")
@click.option("--engine", default="auto", show_default=True, help="What runs the teacher.")
@click.option("--threads", type=int, help="CPU threads.  [default: all]")
@click.option("--heads-only", type=_existing, help="Fit sparse and ColBERT heads to this XLM-R checkpoint, frozen.")
def train_command(
    recipe: Path, data: Path, teacher: Path, out: Path, device: str, engine: str, threads: int | None,
    heads_only: Path | None,
) -> None:  # fmt: skip
    """Train a student as RECIPE says, in two stages; OUT/student is a checkpoint for m3rt export."""
    if threads:
        torch.set_num_threads(threads)
    wanted = Recipe.read(recipe)
    out.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary(wanted, data, teacher, heads_only, out / "vocabulary")
    lessons = _lessons(wanted, data, teacher, vocabulary, engine, threads, out / "lessons.npz")
    if heads_only:
        student = checkpoint.load(heads_only)
        student.backbone.requires_grad_(False)
    else:
        student = _warm(wanted, lessons, vocabulary, out, device)
        checkpoint.save(student, vocabulary.tokenizer, out / "warm")
    student.to(device)
    run = train(
        student,
        wanted.together,
        together_losses(student, lessons, wanted, vocabulary.rarity, device),
        out / "together.pt",
        "together",
    )
    _finish(run, student, vocabulary, out / "student")


def _vocabulary(recipe: Recipe, data: Path, teacher: Path, heads_only: Path | None, kept: Path) -> Vocabulary:
    if heads_only:  # the encoder has its own, whose rarity only warm-up would need
        return Vocabulary.whole(read_tokenizer(heads_only / TOKENIZER))
    if not (kept / TOKENIZER).is_file():
        corpus = read_corpus(data / name for name in recipe.sets)
        texts = _sample(corpus, recipe)
        prune(read_tokenizer(teacher / TOKENIZER), texts, recipe.vocabulary).save(kept)
    return Vocabulary.read(kept)


def _sample(corpus: Corpus, recipe: Recipe) -> Iterator[tuple[str, str]]:
    by_lang: dict[str, list[str]] = {lang: [] for lang in recipe.langs}
    for text, lang in zip(corpus.texts, corpus.langs, strict=True):
        if lang in by_lang:
            by_lang[lang].append(text)
    for lang, texts in by_lang.items():
        random.Random(recipe.seed).shuffle(texts)
        yield from ((text, lang) for text in texts[:_SAMPLE])


def _lessons(
    recipe: Recipe, data: Path, teacher: Path, vocabulary: Vocabulary, engine: str, threads: int | None, path: Path
) -> Lessons:
    if not path.is_file():
        asked = Teacher(teacher, path.with_name("teacher"), engine=engine, threads=threads)
        prepare(recipe, data, vocabulary, asked).save(path)
    return Lessons.read(path)


def _warm(recipe: Recipe, lessons: Lessons, vocabulary: Vocabulary, out: Path, device: str) -> Student:
    shape = Shape(
        len(vocabulary.kept), recipe.hidden, recipe.layers, recipe.heads, recipe.ffn, recipe.positions,
        recipe.epsilon, recipe.colbert,
    )  # fmt: skip
    bag = Bag(starting_table(lessons.pieces, vocabulary.rarity))
    bag.to(device)
    run = train(bag, recipe.bag, bag_losses(bag, lessons, recipe, device), out / "bag.pt", "bag")
    plot(run.history, out / "bag.svg")
    words = whitened(bag.table.weight.detach().cpu()[:, :-1])
    pivot = recipe.langs.index(PIVOT) if PIVOT in recipe.langs else 0
    links = translations(lessons, shape.vocab, pivot)
    words = nearer(aligned(words, vocabulary.rarity, lessons, pivot), links)
    words = aligned(words, vocabulary.rarity, lessons, pivot)
    meant = senses(guessed(links, words, lessons, pivot), shape.vocab)
    table = student_table(words, vocabulary.rarity, recipe.hidden, meant, recipe.seed)
    student = initialise(shape, table, recipe.seed)
    # The table has words that no text of the layers' stages has; only the bag's stage keeps them in step.
    student.backbone.embeddings.word_embeddings.requires_grad_(False)
    if recipe.warmup:
        student.to(device)
        losses = warmup_losses(student, lessons, recipe.warmup, recipe.seed, vocabulary.rarity, device)
        run = train(student, recipe.warmup, losses, out / "warmup.pt", "warm-up")
        plot(run.history, out / "warmup.svg")
    return student


def _finish(run: Run, student: Student, vocabulary: Vocabulary, directory: Path) -> None:
    plot(run.history, directory.with_name("together.svg"))
    checkpoint.save(student, vocabulary.tokenizer, directory)
    click.echo(directory)


if __name__ == "__main__":
    try:
        main()
    except M3rtError as error:
        click.echo(f"m3rt_distill: {error}", err=True)
        sys.exit(2)
