"""HybridIndex: documents in, ranked documents out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from ..bundle import DEFAULT, portable
from ..embeddings import Embeddings
from ..errors import InputError
from ..host import forks
from ..values.arguments import flag, path_of, whole_number
from ..values.counts import counted
from ..values.listing import listed
from ..values.shown import shown
from ..values.texts import check_texts
from . import models
from .answer import answer
from .checks import check_embeddings, check_note
from .choices import SearchMode
from .context import Context, context
from .incoming import Added, Incoming
from .search.options import FUSION, RERANKED, Options
from .search.result import SearchResult
from .store import directory
from .store.facets import Filter
from .store.info import info, segment_faults
from .store.keys import check_ids
from .store.manifest import Manifest, Settings
from .store.snapshot import open_snapshot
from .store.writer import Writer
from .stored import StoredRows, stored

if TYPE_CHECKING:
    from ..encoder import M3Encoder, Progress
    from ..reranker import M3Reranker


class HybridIndex:
    """An index on disk; one instance may be searched from many threads, and by other processes while it is written.

    path: its directory, see create(). model: the bundle, or the M3Encoder, that embeds texts; by default the bundle
    that the index records, loaded at the first text. Every add, delete and compact is one commit: readers see all of
    it or nothing, and a process that is killed loses only the call that it was in. An instance sees its own commits,
    and those of other writers that were there when it was opened or refreshed. threads: CPU threads of a search, and
    of a model that the index loads; by default as many as affinity and cgroup allow.
    Raises HybridIndexError when there is no index or another model made it. Segments with damaged files are left out of
    searches, with a warning that names them, and stop writers until they are restored or given up, see compact().

    >>> index = HybridIndex.create("my-index", "bge-m3-int8", colbert="int8")    # doctest: +SKIP
    >>> index.add(["a", "b"], ["A text.", "Another."], metadata=[{"lang": "en"}, {}])    # doctest: +SKIP
    >>> [hit.id for hit in index.search("text", k=5, filter={"lang": "en"})]    # doctest: +SKIP
    """

    def __init__(
        self, path: str | Path, model: str | Path | M3Encoder | None = None, *, threads: int | None = None
    ) -> None:
        self.path = path_of("path", path)
        self._threads = None if threads is None else whole_number("threads", threads, 1, 1 << 16)
        self._model = model
        self.forked()
        forks.tell(self)
        self._loaded: M3Encoder | None = None
        self._snapshot = open_snapshot(self.path)
        if model is not None:
            models.check_same(self.path, self._snapshot.manifest.model, models.bundle_of(model))

    @classmethod
    def create(
        cls,
        path: str | Path,
        model: str | Path | M3Encoder | None = None,
        *,
        dense: str | None = "int8",
        sparse: bool = True,
        colbert: str | None = None,
        dim: int | None = None,
        colbert_dim: int | None = None,
        chunk_tokens: int | None = None,
        chunk_overlap: int = 64,
    ) -> Self:
        """Make an empty index in a new or empty directory.

        dense: "float32", "int8" (a scale for each vector), "binary" (signs; small and coarse), "binary+int8" or None.
        Signs of all vectors less their mean choose which are scored: of float32 and int8 from 65,536 rows on, of
        "binary+int8", which is int8 otherwise, from 4,096 on. "binary" has the signs alone, less the mean of the first
        rows where that is most of each vector, so begin such an index with a batch of usual texts. sparse: store
        lexical weights. colbert: "int8", "binary", "binary+int8" or None: a vector for each token, most of an index
        that has them. chunk_tokens: cut texts into chunks of at most so many tokens, neighbours sharing chunk_overlap;
        by default a text is one row, cut off at the model's limit.
        model: the bundle that makes the vectors, by default m3-tiny. With dim and no model an index knows none: dim and
        colbert_dim (by default dim) are the widths of its vectors, and only embeddings can be added and searched.
        Raises InputError, BundleError, or OutputError when the directory cannot be made or is in use.
        """
        directory_path, sparse = path_of("path", path), flag("sparse", sparse)
        if model is None and dim is not None:
            if chunk_tokens is not None:
                raise InputError(
                    "an index without a model cannot cut texts into chunks; give model, or no chunk_tokens"
                )
            widths, identity = (dim, dim if colbert_dim is None else colbert_dim), None
        else:
            bundle = models.bundle_of(DEFAULT if model is None else model)
            m = bundle.manifest
            if not m.heads.sparse and (sparse or colbert is not None):
                raise InputError(f"{bundle.path} is a {m.kind} bundle with dense vectors only; pass sparse=False")
            widths, identity = (m.dim, m.architecture.colbert_dim or m.dim), models.identity(bundle)
        settings = Settings(dense, sparse, colbert, *widths, chunk_tokens, chunk_overlap)
        directory.create(directory_path, Manifest(settings, identity))
        return cls(directory_path, model)

    def forked(self) -> None:
        """Make new locks: in a forked child, a lock that another thread of the parent held would never be released."""
        self._lock = threading.RLock()
        self._loading = threading.Lock()  # a lock of its own, since a search must not wait for an add

    def __reduce__(self) -> tuple[Any, ...]:
        """An index pickles as its arguments, and is opened again."""
        model = portable(self._model) if isinstance(self._model, str | Path) else self._model
        return partial(type(self), self.path.absolute(), model, threads=self._threads), ()

    def __repr__(self) -> str:
        model = self._snapshot.manifest.model or "no model"
        return f"HybridIndex({str(self.path)!r}: {counted(len(self), 'document')}, {model})"

    def __len__(self) -> int:
        """The number of documents that a search can return."""
        return sum(segment.record.documents for segment in self._snapshot.segments)

    @property
    def settings(self) -> Settings:
        """The views, precisions and widths that the index stores."""
        return self._snapshot.manifest.settings

    @property
    def note(self) -> Mapping[str, Any] | None:
        """The note of the last commit that carried one."""
        return self._snapshot.manifest.note

    @property
    def encoder(self) -> M3Encoder:
        """The model, loaded when first used. Raises InputError for an index without one, BundleError, EngineError."""
        with self._loading:
            if self._loaded is None:
                self._loaded = models.load(self.path, self._snapshot.manifest.model, self._model, self._threads)
            return self._loaded

    def add(
        self,
        ids: Iterable[str],
        texts: Iterable[str] | None = None,
        *,
        embeddings: Embeddings | None = None,
        metadata: Iterable[Mapping[str, Any] | None] | None = None,
        note: Mapping[str, Any] | None = None,
        show_progress: Progress | Literal[False] = False,
    ) -> Added:
        """Add n documents in one commit; an id that is there already is replaced.

        ids: distinct, not empty. texts: stored, and embedded unless embeddings hold a row for each of them; texts may
        be left out then. metadata: a JSON object for each document, to show and to filter by. note: any JSON object,
        kept with the commit, in which a program can record how far it got. show_progress: as M3Encoder.encode's.
        Raises InputError, EngineError, HybridIndexError when a segment is damaged, or OutputError when another process
        writes or the disk is full: then the index is as before.
        """
        ids = check_ids(ids)
        check_note(note)
        texts = None if texts is None else listed("texts", texts)
        incoming = Incoming(ids, texts, metadata, self.settings)
        if texts is not None:
            check_texts(texts)
        if embeddings is not None:
            check_embeddings(embeddings, len(ids), self.settings)
            blocks = incoming.from_embeddings(embeddings)
        elif texts is not None:
            blocks = incoming.from_texts(self.encoder, show_progress)
        else:
            raise InputError("nothing to embed: give texts or embeddings")
        with self._writing() as writer:
            replaced = writer.delete(ids)
            incoming.center = writer.center
            for block in blocks:
                writer.add(block)
            writer.commit(note)
        return incoming.added(replaced)

    def delete(self, ids: Iterable[str]) -> int:
        """Delete documents in one commit; returns how many of the ids the index had. Raises as add()."""
        ids = check_ids(ids)
        with self._writing() as writer:
            count = writer.delete(ids)
            if count:
                writer.commit(None)
        return count

    def compact(self, *, drop_damaged: bool = False) -> None:
        """Rewrite the index as one segment, without deleted rows: smaller and a little faster.

        drop_damaged: give up segments whose files are missing or changed. Raises as add().
        """
        with self._writing(drop_damaged=flag("drop_damaged", drop_damaged)) as writer:
            if writer.compact():
                writer.commit(None)

    def refresh(self) -> bool:
        """See the last commit, also of other processes; returns whether there was a new one."""
        with self._lock:
            before = self._snapshot
            # A damaged segment may have been restored meanwhile.
            if before.damaged or directory.read(self.path) != before.manifest:
                self._snapshot = open_snapshot(self.path, before.damaged)
            return self._snapshot.manifest != before.manifest

    def search(
        self,
        query: str | Embeddings,
        k: int = 10,
        *,
        mode: SearchMode = "hybrid",
        fusion: Literal["rrf"] | Sequence[float] = FUSION,
        candidates: int = 100,
        rerank: bool | M3Reranker = True,
        filter: Filter | None = None,
        explain: bool = False,
        rerank_candidates: int = RERANKED,
        chunks: bool = False,
        exact: bool = False,
    ) -> SearchResult:
        """The k best documents for a text, or for the embeddings of one.

        mode: "dense", "sparse" and "colbert" rank by that view alone, every document considered. "hybrid" takes the
        `candidates` best documents of dense and of sparse search, keeps as many by the fusion of both scores, and ranks
        these by the fusion of all that is stored: ColBERT too, unless rerank is False.
        fusion: weights of dense, sparse and ColBERT scores. The score is their weighted mean, as in
        compute_score()'s colbert+sparse+dense. The default is BGE-M3's (1, 0.3, 1); weights (0, 0, 1) rank candidates
        by MaxSim alone. "rrf" adds 1 / (60 + rank) over the views instead.
        filter: metadata that a document must have; a list of values means any of them. Numbers are compared by value,
        everything else as text: 2020 equals "2020" and 2020.0. explain: give the hits' terms.
        A document in chunks counts by its best chunk, which is the one that the hit shows; with chunks=True each chunk
        is a hit of its own.
        exact: score every dense vector. By default, where a segment has 65,536 rows or more, the signs of its vectors
        choose 32 rows for each candidate (1,024 at least), and these alone are scored: faster, and hardly ever another
        result; more candidates make it rarer. A filter that leaves few rows has all of them scored.
        rerank: also an M3Reranker. It reads the query with each of the rerank_candidates best documents (k of them at
        least), and its logit is then the score.
        Raises InputError for an option or query that does not fit, EngineError when the text cannot be embedded.
        """
        if isinstance(query, Embeddings) and len(query) != 1:
            raise InputError(f"embeddings hold {len(query)} queries, expected one; search_batch takes many")
        queries = query if isinstance(query, Embeddings) else [query]
        options = Options(k, mode, fusion, candidates, rerank, filter, rerank_candidates, chunks, exact)
        return self._search(queries, options, flag("explain", explain))[0]

    def search_batch(self, queries: Iterable[str] | Embeddings, k: int = 10, **options: Any) -> list[SearchResult]:
        """search() for each of n queries. They are embedded together, and the first result's seconds have that time."""
        explain = flag("explain", options.pop("explain", False))
        return self._search(queries, Options(k, **options), explain)

    def context(self, question: str, tokens: int = 2000, **options: Any) -> Context:
        """The best chunks for a question within so many tokens, for a prompt; see m3rt.index.context.context()."""
        return context(self, question, tokens, **options)

    def stored(self, batch: int = 256) -> Iterator[StoredRows]:
        """All rows, `batch` at a time: ids, texts, metadata, and embeddings as they are stored, see StoredRows."""
        return stored(self._snapshot, whole_number("batch", batch, 1, 1 << 20))

    def info(self) -> dict[str, Any]:
        """Counts, sizes, settings and model of the index, as plain values."""
        return info(self.path, self._snapshot)

    def verify(self, progress: Callable[[int], object] = lambda n: None) -> list[str]:
        """Compare every file with its hash; returns a line for each that differs. progress: called with bytes read."""
        if not callable(progress):
            raise InputError(f"progress is {shown(progress)}, expected a function of the bytes read")
        segments = self._snapshot.manifest.segments
        return [fault for segment in segments for fault in segment_faults(self.path, segment, progress)]

    def _search(self, queries: Iterable[str] | Embeddings, options: Options, explain: bool) -> list[SearchResult]:
        return answer(self._snapshot, queries, options, explain, lambda: self.encoder, self._threads)

    @contextmanager
    def _writing(self, *, drop_damaged: bool = False) -> Iterator[Writer]:
        """A writer on top of the last commit, whoever made it; afterwards this instance sees the new commit."""
        with self._lock, directory.writing(self.path):
            self.refresh()
            directory.collect(self.path, self._snapshot.manifest)
            writer = Writer(self.path, self._snapshot, drop_damaged=drop_damaged)
            try:
                yield writer
            finally:
                writer.close()
            self.refresh()
