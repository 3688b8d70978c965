"""Vectors of one text at four levels, each with its place in the text and from the head that was trained for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle.manifest import TOKENIZER
from .encoder import M3Encoder
from .errors import BundleError, InputError
from .host.extras import need
from .text.chunking import Chunker, Span
from .text.rust import in_one_line
from .text.unigram import fast_tokenizer
from .values.arguments import choice_of
from .values.listing import listed
from .values.shown import shown
from .values.texts import check_texts

LEVELS = ("token", "sentence", "passage", "document")
PASSAGE_TOKENS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """The parts of a text at one level: spans (n, 2) int64, in characters, and vectors (n, dim) float32, unit rows."""

    spans: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.spans)


def encode_levels(
    encoder: M3Encoder,
    text: str,
    *,
    levels: Iterable[str] = LEVELS,
    language: str = "en",
    passage_tokens: int | None = None,
    passage_overlap: int = 0,
) -> dict[str, Level]:
    """Encode one text as tokens, sentences, passages and a whole: {level: Level}, in the order of LEVELS.

    token: ColBERT vectors. document: the dense vector, of the same forward pass; its span ends where the model's window
    does, and no token stands beyond. sentence, passage: dense vectors of each part read on its own, as a text of its
    own in a separate forward pass; a mean of token vectors is not what the dense head was trained for.
    language: a code such as "de", for abbreviations; the full stops of all scripts are known in every language.
    passage_tokens: of a passage at most, <s> and </s> counted, by default 256 or the model's window.
    Raises InputError for other levels, for tokens of a bundle without a ColBERT head, and when sentencex is missing.
    """
    wanted = [choice_of("a level", level, LEVELS) for level in listed("levels", levels)]
    check_texts([text])
    if "token" in wanted and not encoder.manifest.heads.colbert:
        raise InputError(f"{encoder.path} has no ColBERT head, which gives token vectors; leave level 'token' out")
    found: dict[str, Level] = {}
    if {"token", "document"} & {*wanted}:
        found |= _whole(encoder, text, "token" in wanted)
    if "sentence" in wanted:
        found["sentence"] = _parts(encoder, text, sentences(text, language))
    if "passage" in wanted:
        limit = encoder.manifest.max_tokens
        tokens = min(PASSAGE_TOKENS, limit) if passage_tokens is None else passage_tokens
        spans = Chunker.of(encoder.tokenizer, limit, tokens, passage_overlap).spans(text)
        found["passage"] = _parts(encoder, text, spans)
    return {level: found[level] for level in LEVELS if level in wanted}


def sentences(text: str, language: str = "en") -> list[Span]:
    """Where each sentence begins and ends, in characters, without the space around it. Raises InputError."""
    need("sentences", "sentencex", purpose="the level 'sentence'")
    import sentencex

    if not isinstance(language, str) or not language.isascii() or not language.replace("-", "").isalpha():
        raise InputError(f"language is {shown(language)}, expected a code such as 'en'")
    found = sentencex.get_sentence_boundaries(language, text)
    return [span for part in found if (span := _stripped(text, part["start_index"], part["end_index"]))]


def _whole(encoder: M3Encoder, text: str, tokens: bool) -> dict[str, Level]:
    out = encoder.encode([text], return_colbert_vecs=tokens)
    assert out.dense_vecs is not None
    places = _token_spans(encoder, text)[: int(out.n_tokens[0]) - 2]
    end = max((b for _, b in places), default=0) if out.truncated[0] else len(text)
    found = {"document": Level(_array([(0, end)]), out.dense_vecs)}
    if out.multi is not None:  # one vector a token but <s>; the last one is of </s>, which has no place
        found["token"] = Level(_array(places), out.multi.row(0)[:-1])
    return found


def _token_spans(encoder: M3Encoder, text: str) -> list[Span]:
    """The place of each token, special ones left out, as Hugging Face's tokenizers sees it."""
    path = encoder.bundle.file(TOKENIZER)
    with in_one_line(f"{path} cannot tokenize a text"):
        encoding: Any = fast_tokenizer(path).encode(text)
    ids = encoder.tokenizer.encode([text], len(encoding.ids) + 2).ids.tolist()
    if encoding.ids != ids:
        raise BundleError(f"{path} makes other tokens than the bundle's vocabulary; export the bundle again")
    return [_stripped(text, a, b) or (a, b) for a, b in encoding.offsets[1:-1]]


def _parts(encoder: M3Encoder, text: str, spans: Sequence[Span]) -> Level:
    vectors = encoder.encode([text[a:b] for a, b in spans]).dense_vecs
    assert vectors is not None
    return Level(_array(spans), vectors)


def _array(spans: Sequence[Span]) -> NDArray[np.int64]:
    return np.array(spans, np.int64).reshape(-1, 2)


def _stripped(text: str, start: int, end: int) -> Span | None:
    """The span without the space around it; None where nothing is left."""
    part = text[start:end]
    if not part.strip():
        return None
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())
