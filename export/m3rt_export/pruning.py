"""Prunes a Unigram vocabulary: texts of the kept pieces keep their segmentation, all others fall to smaller pieces.

A piece is dropped only if each of its characters is a piece too, so a text becomes <unk> only where it did before. The
lowest score stays, since it decides how much <unk> costs. So whenever all pieces of a text's best segmentation are
kept, it is the best of the pruned vocabulary as well: other paths only become fewer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from string import capwords
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rt.bundle.fields import Pruned, SpecialTokens
from m3rt.errors import InputError
from m3rt.text.scripts import scripts
from m3rt.text.tokenizer import Tokenizer

from .languages import scripts_of

Ids = NDArray[np.int64]
_TEXTS_AT_A_TIME = 4096
_MAX_TOKENS = 1 << 20  # no text is cut
_MIN_SCRIPT_SHARE = 0.01  # of the kept pieces of several letters: a script with fewer is not one of the texts'


@dataclass(frozen=True, slots=True)
class Wish:
    """The pieces to keep: those of the scripts of `languages`, or those that `texts` use; neither keeps all.

    Raises InputError for an unknown language, and for both.
    """

    languages: Sequence[str] = ()
    texts: Iterable[str] | None = None

    def __post_init__(self) -> None:
        if self.languages and self.texts is not None:
            raise InputError("languages and texts both choose the pieces to keep; give one of them")
        if self.languages:
            scripts_of(self.languages)

    @property
    def keeps_all(self) -> bool:
        return not self.languages and self.texts is None


def kept_ids(
    tokenizer: dict[str, Any], special: SpecialTokens, prompts: Iterable[str], wish: Wish, whole: Tokenizer
) -> Ids:
    """The ids to keep, ascending; those up to the last special token stay where they are.

    tokenizer: the contents of tokenizer.json. prompts: come before texts, so their pieces stay. whole: opened from the
    same contents.
    """
    vocab = tokenizer["model"]["vocab"]
    added = [int(token["id"]) for token in tokenizer["added_tokens"]]
    pieces = [str(piece) for piece, _ in vocab]
    kept = np.zeros(len(pieces), np.bool_)
    kept[: max(special.unused) + 1] = True
    kept[sorted(_pieces([*prompts], whole))] = True
    kept[[*added, min(range(len(vocab)), key=lambda i: float(vocab[i][1]))]] = True
    if wish.texts is not None:
        kept[_used(wish.texts, special, whole)] = True
    else:
        wanted = scripts_of(wish.languages)
        kept |= np.fromiter((scripts(piece) <= wanted for piece in pieces), np.bool_, len(pieces))
    single = {piece for piece in pieces if len(piece) == 1}
    kept |= np.fromiter((len(piece) == 1 or not set(piece) <= single for piece in pieces), np.bool_, len(pieces))
    return np.flatnonzero(kept)


def renumbered(tokenizer: dict[str, Any], kept: Ids) -> dict[str, Any]:
    """The contents of a tokenizer.json with the kept pieces alone."""
    new = {int(old): i for i, old in enumerate(kept)}
    model, processor = tokenizer["model"], tokenizer["post_processor"]
    special = {
        name: {**token, "ids": [new[i] for i in token["ids"]]} for name, token in processor["special_tokens"].items()
    }
    return {
        **tokenizer,
        "added_tokens": [{**token, "id": new[token["id"]]} for token in tokenizer["added_tokens"]],
        "post_processor": {**processor, "special_tokens": special},
        "model": {**model, "unk_id": new[model["unk_id"]], "vocab": [model["vocab"][i] for i in kept]},
    }


def described(vocab: Sequence[Sequence[Any]], kept: Ids, wish: Wish) -> Pruned:
    """What the manifest says of the kept pieces."""
    longer = (str(vocab[i][0]).removeprefix("\u2581") for i in kept)
    counts = Counter(s for piece in longer if len(piece) > 1 for s in scripts(piece))
    least = _MIN_SCRIPT_SHARE * counts.total()
    named = {s for s, count in counts.items() if count >= least}
    return Pruned(
        len(kept), tuple(sorted(named | scripts_of(wish.languages) if wish.languages else named)), tuple(wish.languages)
    )


def _pieces(texts: Sequence[str], whole: Tokenizer) -> set[int]:
    return {*np.unique(whole.encode(texts, _MAX_TOKENS).ids).tolist()}


def _used(texts: Iterable[str], special: SpecialTokens, whole: Tokenizer) -> Ids:
    source, used = iter(texts), set[int]()
    while chunk := list(islice(source, _TEXTS_AT_A_TIME)):
        used |= _pieces(chunk, whole)
        # Queries have the words of documents, but other spellings of them.
        for spelling in (str.lower, capwords):
            used |= _pieces([spelling(text) for text in chunk], whole)
    if not used - {*special.unused}:
        raise InputError("the texts to keep the pieces of are empty, expected some words")
    return np.array(sorted(used), np.int64)
