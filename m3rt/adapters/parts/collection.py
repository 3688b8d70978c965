"""A collection: documents in a database, behind the same three methods whatever the database is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection as Container
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from ...embeddings import Embeddings
from ...errors import InputError
from ...index.search.result import Hit
from ...values.arguments import choice_of, whole_number
from .documents import Documents
from .layout import Layout

Mode = Literal["dense", "sparse", "colbert", "hybrid"]

RRF_K = 60  # Cormack, Clarke and Buettcher, SIGIR 2009


class Destination(ABC):
    """A place for documents of one layout; one that exists with another is refused when it is opened."""

    name: str
    layout: Layout

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that are not there, in order."""
        there = self._there(ids)
        return [name for name in ids if name not in there]

    def add(
        self,
        embeddings: Embeddings,
        ids: Iterable[str],
        texts: Iterable[str] | None = None,
        metadata: Iterable[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Add documents; one whose id is there is replaced."""
        self._write(Documents.of(embeddings, ids, texts, metadata, layout=self.layout))

    def finish(self) -> None:  # noqa: B027
        """Make what was added fast to search, where the database does not do so by itself."""

    def close(self) -> None:  # noqa: B027
        """Leave the database."""

    @abstractmethod
    def _there(self, ids: Sequence[str]) -> Container[str]:
        """Those of the ids that are there."""

    @abstractmethod
    def _write(self, found: Documents) -> None:
        """Add the documents, or replace those of the same ids."""


class Collection(Destination):
    """Documents in a database that searches them."""

    def search(self, query: Embeddings, k: int = 10, *, mode: Mode = "hybrid", candidates: int = 100) -> list[Hit]:
        """The k best documents for the embeddings of one text, best first.

        candidates: documents that "hybrid" takes from each view. Raises InputError for an option or a query that does
        not fit.
        """
        whole_number("k", k, 1, 1 << 14)
        whole_number("candidates", candidates, 1, 1 << 14)
        choice_of("mode", mode, get_args(Mode))
        widths = self.layout.widths()
        if mode != "hybrid" and mode not in widths:
            raise InputError(f"the collection has no {mode} vectors, only {', '.join(widths)}; use one of those")
        return self._search(Documents.of(query, ["query"], layout=self.layout), k, mode, candidates)

    @abstractmethod
    def _search(self, query: Documents, k: int, mode: Mode, candidates: int) -> list[Hit]:
        """The k best documents for the one text in `query`."""


def hit(score: float, payload: Mapping[str, Any], mode: str) -> Hit:
    """A hit of what Documents.payload() has stored; a fusion's score is no view's."""
    scores = {} if mode == "hybrid" else {mode: score}
    return Hit(payload["id"], score, scores, payload.get("text"), payload.get("metadata") or {})
