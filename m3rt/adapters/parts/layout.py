"""A layout: which views a collection holds, how wide they are, and which model makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from ...bundle import open_bundle
from ...bundle.heads import Heads
from ...embeddings import Embeddings
from ...errors import InputError
from ...index.checks import check_embeddings
from ...index.models import check_same, identity, located
from ...index.store.directory import read
from ...index.store.manifest import Model, Settings
from ...values.arguments import whole_number

if TYPE_CHECKING:
    from ...encoder import M3Encoder
    from ...index import HybridIndex

_MAX_WIDTH = 1 << 30


@dataclass(frozen=True, slots=True)
class Layout:
    """The width of each view, None for one that is not stored.

    dense, colbert: components of a vector. sparse: tokens of the vocabulary. model: the one that makes the vectors,
    which a new collection records, and by which one of another model is refused. Raises InputError for a layout of
    nothing.
    """

    dense: int | None = None
    sparse: int | None = None
    colbert: int | None = None
    model: Model | None = None

    def __post_init__(self) -> None:
        for name, width in self.widths().items():
            whole_number(name, width, 1, _MAX_WIDTH)
        if not self.widths():
            raise InputError("a layout of nothing: expected a width of dense, sparse or colbert")

    @classmethod
    def of(cls, encoder: M3Encoder, *, dense: bool = True, sparse: bool = True, colbert: bool = False) -> Self:
        """The layout for an encoder's outputs."""
        m = encoder.manifest
        if (sparse or colbert) and not m.heads.sparse:
            raise InputError(f"{encoder.path} is a {m.kind} bundle with dense vectors only; pass sparse=False")
        return cls(
            m.dim if dense else None,
            m.architecture.vocab_size if sparse else None,
            (m.architecture.colbert_dim or m.dim) if colbert else None,
            identity(encoder.bundle),
        )

    @classmethod
    def of_index(
        cls, index: HybridIndex, model: str | None = None, *, sparse: bool = True, colbert: bool = False
    ) -> Self:
        """The layout for an index's stored vectors: dense where it has them, and those that are asked for.

        model: the index's bundle, which knows the vocabulary, if it is not where it was when the index was built.
        Raises InputError for a view that the index lacks and, with sparse, where no model is found; HybridIndexError
        for a model that is not the index's.
        """
        s = index.settings
        for view, lacks in (("sparse", sparse and not s.sparse), ("ColBERT", colbert and not s.colbert)):
            if lacks:
                raise InputError(f"{index.path} stores no {view} vectors; leave them out, or build it with them")
        vocabulary, made_by = None, read(index.path).model
        if sparse:
            bundle = open_bundle(model or located(index.path, made_by))
            check_same(index.path, made_by, bundle)
            vocabulary = bundle.manifest.architecture.vocab_size
        return cls(s.dense_dim if s.dense else None, vocabulary, s.colbert_dim if colbert else None, made_by)

    def widths(self) -> dict[str, int]:
        """The widths of what is stored, by view."""
        found = {"dense": self.dense, "sparse": self.sparse, "colbert": self.colbert}
        return {view: width for view, width in found.items() if width is not None}

    def keywords(self) -> dict[str, Any]:
        """encode()'s options for what is stored."""
        return Heads(*(width is not None for width in (self.dense, self.sparse, self.colbert))).keywords()

    def fitted(self, out: Embeddings, n: int) -> Embeddings:
        """What is stored, alone. Raises InputError unless there are n rows, of these widths and all finite."""
        settings = Settings(
            "float32" if self.dense else None,
            self.sparse is not None,
            "int8" if self.colbert else None,
            self.dense or 1,
            self.colbert or 1,
        )
        check_embeddings(out, n, settings)
        if self.sparse is not None and out.sparse is not None:
            largest = int(out.sparse.indices.max(initial=0))
            if largest >= self.sparse:
                raise InputError(f"token id {largest} is outside the vocabulary of {self.sparse}; is it another model?")
        return replace(
            out,
            dense_vecs=out.dense_vecs if self.dense else None,
            sparse=out.sparse if self.sparse else None,
            multi=out.multi if self.colbert else None,
        )

    def refuse_other(self, name: str, there: Mapping[str, int]) -> None:
        """Raise InputError when the collection `name` exists with other widths than these."""
        if dict(there) != self.widths():
            raise InputError(
                f"{name} exists with {_listed(there)}, expected {_listed(self.widths())}; choose another name"
            )


def _listed(widths: Mapping[str, int]) -> str:
    return ", ".join(f"{view} vectors of width {width}" for view, width in widths.items()) or "no vectors"
