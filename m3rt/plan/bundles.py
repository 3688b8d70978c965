"""The size of a bundle on disk, by the precision of its weights and the pieces that its vocabulary keeps."""

from __future__ import annotations

from collections.abc import Mapping

from .models import Checkpoint

# Bytes of a weight in the layers and of one in a row of the embeddings, so that the sizes of exports come out: 2,280,
# 1,150, 588 and 346 MB in BGE-M3's shape, 218 MB of int4 with 30,316 pieces, 133 MB in int8 and 91 MB in int4 of
# multilingual-e5-small.
_WEIGHT_BYTES: Mapping[str, tuple[float, float]] = {
    "fp32": (4.0, 4.0),
    "fp16": (2.0, 2.0),
    "int8": (1.013, 1.013),
    "int4": (0.644, 0.52),
}
_NARROW_INT4_BYTES = (1.013, 0.58)
_PIECE_BYTES = 53  # of tokenizer.json and the tokenizer's tables
_M3_TINY_BYTES = 15.3e6
# Of XLM-R's vocabulary --vocab-from keeps all characters, and so many pieces of a language for 300,000 to a million
# tokens: 7,000 (Japanese) to 17,000 (English, Italian).
_CHARACTERS, _PIECES_A_LANGUAGE = 14_000, 15_000


def bundle_bytes(model: Checkpoint, precision: str, pieces: int | None = None) -> float:
    """About the size of a bundle, with so many pieces of the vocabulary or all; for m3-tiny it is known."""
    if model.ships:
        return _M3_TINY_BYTES
    pieces = model.vocabulary if pieces is None else pieces
    in_layers, in_rows = _NARROW_INT4_BYTES if precision == "int4" and model.narrow else _WEIGHT_BYTES[precision]
    rows = (model.parameters - model.layer_parameters) * 1e6 - (model.vocabulary - pieces) * model.dim
    return model.layer_parameters * 1e6 * in_layers + rows * in_rows + pieces * _PIECE_BYTES


def pruned_pieces(model: Checkpoint, languages: int) -> int | None:
    """About the pieces that texts of so many languages use; None where a vocabulary cannot be pruned."""
    pieces = _CHARACTERS + _PIECES_A_LANGUAGE * languages
    return pieces if model.prunes and pieces < model.vocabulary else None
