"""export(): turns a checkpoint into a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from m3rt.bundle import Bundle, open_bundle
from m3rt.bundle.fields import EngineName, Precision, Source
from m3rt.bundle.manifest import GOLDEN, MANIFEST, ORIGINAL_IDS, TOKENIZER, Manifest
from m3rt.bundle.sessions import sessions
from m3rt.errors import BundleError, CheckpointError, InputError
from m3rt.host.files import FileRecord, record
from m3rt.text.unigram import FILES as UNIGRAM_FILES

from .checkpoint import layout
from .checkpoint.config import Config, read_config
from .checkpoint.cross_encoder import refuse_generative
from .checkpoint.json_file import json_files
from .checkpoint.source import Checkpoint, resolve
from .golden import write_golden
from .graph.build import OPERATORS, WEIGHTS, build
from .graph.classifier import ClassifierTensors, read_classifier_tensors
from .graph.heads import HeadTensors, read_heads
from .graph.trace import trace
from .memory import refuse_little_room
from .pruning import Wish
from .target import written_aside
from .tensors.reader import TensorStore, open_tensors
from .tokenizer_files import chosen_pieces, prune_tokenizer, write_tokenizer


def export(
    source: str | Path,
    out: str | Path,
    *,
    precision: Precision = "int8",
    engine: EngineName | None = None,
    revision: str | None = None,
    dense_only: bool = False,
    languages: Sequence[str] = (),
    vocab_from: Iterable[str] | None = None,
    progress: Callable[[str], object] = lambda step: None,
) -> Bundle:
    """Convert a checkpoint into the bundle directory `out`, which must not exist yet or be empty.

    source: a local directory in Hugging Face's layout, or a Hub id. engine: write the graph of this engine only;
    by default every engine that runs the precision gets one, as they share the weights. revision: branch, tag
    or commit of a Hub id; the commit is recorded. dense_only: leave the sparse and ColBERT heads out. languages: keep
    only the pieces of these languages' writing systems, by ISO 639 code, and all characters. vocab_from: keep only the
    pieces that these texts use, and all characters. progress: called with each step's name. Returns the
    opened bundle. Raises InputError, CheckpointError or OutputError, and then leaves nothing behind.

    >>> export("BAAI/bge-m3", "bge-m3-int8", precision="int8")  # doctest: +SKIP
    """
    if precision not in get_args(Precision):
        raise InputError(f"precision is {precision!r}, expected one of {', '.join(get_args(Precision))}")
    engines = tuple(name for name in get_args(EngineName) if name in OPERATORS[precision])
    if engine is not None and engine not in engines:
        raise InputError(f"engine is {engine!r}, expected one of {', '.join(engines)} for {precision}")
    wish = Wish(languages, vocab_from)
    refuse_little_room()
    target = Path(out)
    with written_aside(target) as directory:
        progress("reading the checkpoint")
        checkpoint = resolve(str(source), revision=revision, dense_only=dense_only)
        config = read_config(checkpoint.path, checkpoint.model_id)
        try:
            write_tokenizer(checkpoint.path, directory, config)
            chosen = (engine,) if engine else engines
            manifest = _fill(directory, checkpoint, config, precision, chosen, dense_only, wish, progress)
            progress("golden vectors")
            _write_manifest(directory, manifest)
            write_golden(directory)
        except BundleError as error:  # name the checkpoint and the target: `directory` is gone when the message is read
            tokenizer = str(config.tokenizer.path / layout.TOKENIZER)
            reason = str(error).replace(str(directory / TOKENIZER), tokenizer).replace(str(directory), str(target))
            raise CheckpointError(reason) from error
        files = {**manifest.files, GOLDEN: record(directory / GOLDEN)}
        _write_manifest(directory, replace(manifest, files=files))
    return open_bundle(target)


def _fill(
    directory: Path,
    checkpoint: Checkpoint,
    config: Config,
    precision: Precision,
    engines: Sequence[EngineName],
    dense_only: bool,
    wish: Wish,
    progress: Callable[[str], object],
) -> Manifest:
    """Write the graphs and the weights into `directory`, and describe them."""
    architecture, folder = config.architecture, checkpoint.path / config.modules.folder
    kept = None if wish.keeps_all else chosen_pieces(directory, config, wish)
    if config.supported:
        tensors = open_tensors(folder)
        heads = _heads(checkpoint, config, tensors, dense_only)
        graph = build(tensors.require, config, heads, precision, engines, directory, progress, kept)
        m3 = isinstance(heads, HeadTensors)
        read = [*tensors.files, *(checkpoint.path / name for name in layout.HEADS.values() if m3)]
        if isinstance(heads, HeadTensors):
            architecture = replace(architecture, colbert_dim=len(heads.colbert.weight))
    else:
        if not dense_only:
            refuse_generative(folder)
        if kept is not None:
            raise InputError(f"{folder} is traced, which keeps the vocabulary whole; leave out languages and texts")
        graph = trace(folder, config, precision, dense_only, directory, progress)
        heads, read = None, open_tensors(folder).files
    pruned = None if kept is None else prune_tokenizer(directory, config, kept, wish)
    progress("hashing")
    folders = (checkpoint.path, folder, checkpoint.path / config.modules.pooling)
    return Manifest(
        kind="reranker" if config.classifier else "m3" if heads else "dense",
        precision=precision,
        source=Source(
            id=checkpoint.model_id,
            revision=checkpoint.revision,
            files=_records(checkpoint.path, sorted({*read, *json_files(folders)})),
        ),
        architecture=architecture,
        pooling=config.pooling,
        special_tokens=config.special_tokens,
        max_tokens=config.max_tokens,
        graph=graph,
        files=_records(
            directory,
            [
                directory / name
                for name in (*graph.files.values(), WEIGHTS, TOKENIZER, *UNIGRAM_FILES, *[ORIGINAL_IDS] * bool(pruned))
            ],
        ),
        prompts=config.prompts,
        matryoshka_dims=config.matryoshka_dims,
        sessions=sessions(graph.files, precision),
        classifier=config.classifier,
        pruned=pruned,
    )


def _heads(
    checkpoint: Checkpoint, config: Config, tensors: TensorStore, dense_only: bool
) -> HeadTensors | ClassifierTensors | None:
    if config.classifier is None:
        return None if dense_only else read_heads(checkpoint.path, config)
    if dense_only:
        raise InputError(f"{checkpoint.path} is a reranker, which has no dense head; leave out --dense-only")
    return read_classifier_tensors(tensors.require, config)


def _records(directory: Path, files: list[Path]) -> dict[str, FileRecord]:
    return {path.relative_to(directory).as_posix(): record(path) for path in files if path.is_file()}


def _write_manifest(directory: Path, manifest: Manifest) -> None:
    (directory / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
