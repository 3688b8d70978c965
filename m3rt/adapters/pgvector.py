"""PostgreSQL with pgvector: a table that takes rows and searches them."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from ..embeddings import Embeddings
from ..errors import InputError
from ..host.extras import need
from ..index.search.result import Hit
from ..values.arguments import whole_number
from .parts import pgbinary
from .parts.collection import RRF_K, Collection, Mode, hit
from .parts.documents import Documents
from .parts.layout import Layout
from .parts.made_by import check_made_by, record
from .parts.names import check_name
from .parts.pgrows import MAX_NNZ, checked, metadata_json, text_rows
from .parts.place import owning, refuse_key

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,40}")
_MAX_EF_SEARCH = 1000  # hits that pgvector's HNSW search gives at most
_EF_PER_HIT = 4  # with as few candidates as hits, the graph over sparse vectors misses 1 document of 100
_MAX_DENSE = 2000  # components that an HNSW index takes
_TYPES = {"dense": "vector({})", "sparse": "sparsevec({})", "colbert": "vector({})[]"}
_INDEXES = {"dense": "vector_ip_ops", "sparse": "sparsevec_ip_ops"}
_MAX_SIM = """
create or replace function m3rt_max_sim(query vector[], tokens vector[]) returns double precision
language sql immutable parallel safe as $$
  select avg(best) from (
    select max(-(q <#> t)) as best from unnest(query) with ordinality as a(q, place), unnest(tokens) as t group by place
  ) as matches
$$"""


def to_pgvector(
    embeddings: Embeddings,
    ids: Iterable[str],
    texts: Iterable[str] | None = None,
    metadata: Iterable[Mapping[str, Any] | None] | None = None,
    *,
    vocabulary: int,
    max_nnz: int = MAX_NNZ,
) -> Iterator[dict[str, Any]]:
    """Rows {"id", "dense", "sparse", "colbert", "text", "metadata"} of text, as PostgreSQL reads it.

    dense: '[..]' for vector or halfvec; sparse: '{i:w,..}/vocabulary' for sparsevec, whose indices are token ids + 1;
    colbert: an array of such vectors, vector[]; metadata: JSON. An empty sparse vector is '{}/vocabulary'. A row with
    more than max_nnz weights, which an HNSW index refuses, keeps the largest, and a warning says how many were cut.
    `<#>` is the **negative** dot product; PostgresCollection's ColBERT score is m3rt's, the **mean** over query tokens.
    Raises InputError for ids, texts and metadata with a NUL, which PostgreSQL cannot hold.
    """
    found = Documents.of(embeddings, ids, texts, metadata)
    if found.embeddings.sparse is not None:
        Layout(sparse=vocabulary).fitted(found.embeddings, len(found))
    return text_rows(found, vocabulary, max_nnz)


class PostgresCollection(Collection):
    """A Collection in a table of PostgreSQL with pgvector.

    connection: one of psycopg 3; every add() is one transaction. name: the table, made with its HNSW indexes if it is
    not there. "hybrid" fuses dense and sparse candidates by reciprocal ranks, or ranks them all by ColBERT where the
    layout has it. A search by ColBERT alone reads the whole table; others give 1000 hits at most.
    Raises InputError for a name that is no plain identifier, for dense vectors of more than 2000 components and for a
    table with another layout or of another model, which its comment names.
    """

    def __init__(self, connection: Any, name: str, layout: Layout) -> None:
        need("pgvector", "psycopg", purpose="PostgresCollection")
        check_name(name, _NAME, "lower-case letters, digits and _, at most 41, no digit first")
        if (layout.dense or 0) > _MAX_DENSE:
            raise InputError(
                f"dense is {layout.dense} wide, expected at most {_MAX_DENSE}: an HNSW index takes no more"
            )
        self.connection, self.name, self.layout = connection, name, layout
        with connection.transaction():
            connection.execute("create extension if not exists vector")
            self._vector = pgbinary.register(connection)  # the oid of the type
            if there := self._columns():
                self._check(there)
            else:
                self._create()

    @classmethod
    def at(cls, where: str, name: str, layout: Layout, key: str | None = None) -> Self:
        """The table in the database of a URL without its "postgresql:"; $PGPASSWORD may hold the password."""
        need("pgvector", "psycopg", purpose="PostgreSQL")
        import psycopg

        refuse_key(key)
        connection = psycopg.connect(f"postgresql:{where}", autocommit=True)
        return owning(connection, lambda connection: cls(connection, name, layout))

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def _there(self, ids: Sequence[str]) -> set[str]:
        with self.connection.transaction():
            rows = self.connection.execute(f"select id from {self.name} where id = any(%s)", [list(ids)]).fetchall()
        return {row[0] for row in rows}

    def _write(self, found: Documents) -> None:
        columns = ["id", "text", "metadata", *self.layout.widths()]
        places = ", ".join(["%s", "%s", "%s::jsonb", *(f"%s::{kind}" for kind in self._types().values())])
        update = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
        statement = (
            f"insert into {self.name} ({', '.join(columns)}) values ({places}) on conflict (id) do update set {update}"
        )
        rows = self._binary(checked(found, MAX_NNZ))
        with self.connection.transaction(), self.connection.cursor() as cursor:
            cursor.executemany(statement, rows)

    def _binary(self, found: Documents) -> list[list[Any]]:
        """The columns of each document, in the table's order."""
        n, out = len(found), found.embeddings
        columns: list[Sequence[Any]] = [found.ids, found.texts or [None] * n, metadata_json(found) or [None] * n]
        if out.dense_vecs is not None:
            columns.append(pgbinary.vectors(out.dense_vecs))
        if out.sparse is not None:
            width = self.layout.sparse or 0
            columns.append([pgbinary.sparse_vector(*out.sparse.row(i), width) for i in range(n)])
        if out.multi is not None:
            columns.append([pgbinary.vector_array(out.multi.row(i), self._vector) for i in range(n)])
        return [list(row) for row in zip(*columns, strict=True)]

    def _search(self, query: Documents, k: int, mode: Mode, candidates: int) -> list[Hit]:
        if mode != "colbert":  # which no index searches
            whole_number("k", k, 1, _MAX_EF_SEARCH)
        row = next(text_rows(query, self.layout.sparse or 0, MAX_NNZ))
        scores = {
            "dense": "-(dense <#> %(dense)s::vector)",
            "sparse": "-(sparse <#> %(sparse)s::sparsevec)",
            "colbert": "m3rt_max_sim(%(colbert)s::vector[], colbert)",
        }
        if mode == "hybrid":
            statement = self._hybrid(scores)
        else:
            nothing = " where sparse <#> %(sparse)s::sparsevec < 0" if mode == "sparse" else ""
            # The operator itself, which the index knows, not its negative.
            order = f"{scores[mode]} desc" if mode == "colbert" else scores[mode][1:]
            statement = (
                f"select {scores[mode]}, id, text, metadata from {self.name}{nothing} order by {order} limit %(k)s"
            )
        with self.connection.transaction():
            self.connection.execute(f"set local hnsw.ef_search = {_ef_search(k, candidates)}")
            rows = self.connection.execute(statement, {**row, "k": k, "candidates": candidates}).fetchall()
        return [hit(float(row[0]), dict(zip(("id", "text", "metadata"), row[1:], strict=True)), mode) for row in rows]

    def _hybrid(self, scores: Mapping[str, str]) -> str:
        """One statement: ranks of each view, their fusion, and ColBERT over what they found."""
        first = [view for view in self.layout.widths() if view != "colbert"]
        if not first:
            return f"select {scores['colbert']}, id, text, metadata from {self.name} order by 1 desc limit %(k)s"
        ranks = " union all ".join(
            f"(select id, row_number() over () as rank from (select id from {self.name} "
            f"{'where ' + scores['sparse'] + ' > 0 ' if view == 'sparse' else ''}"
            f"order by {scores[view][1:]} limit %(candidates)s) as {view}_hits)"
            for view in first
        )
        fused = f"select id, sum(1.0 / ({RRF_K} + rank)) as fusion from ({ranks}) as ranks group by id"
        score = scores["colbert"] if self.layout.colbert else "fusion"
        return (
            f"select {score}, id, text, metadata from ({fused}) as found join {self.name} using (id) "
            "order by 1 desc, id limit %(k)s"
        )

    def _types(self) -> dict[str, str]:
        return {view: _TYPES[view].format(width) for view, width in self.layout.widths().items()}

    def _create(self) -> None:
        columns = ", ".join(f"{view} {kind} not null" for view, kind in self._types().items())
        self.connection.execute(f"create table {self.name} (id text primary key, text text, metadata jsonb, {columns})")
        for view, operators in _INDEXES.items():
            if view in self.layout.widths():
                self.connection.execute(f"create index on {self.name} using hnsw ({view} {operators})")
        if self.layout.colbert is not None:
            self.connection.execute(_MAX_SIM)
        if self.layout.model is not None:
            self._describe(record(self.layout.model))

    def _describe(self, comment: str) -> None:
        from psycopg import sql

        statement = sql.SQL("comment on table {} is {}").format(sql.Identifier(self.name), sql.Literal(comment))
        self.connection.execute(statement)

    def _columns(self) -> dict[str, tuple[str, int]]:
        """Type and width of each column, of none if there is no table."""
        statement = (
            "select attname, atttypid::regtype::text, atttypmod from pg_attribute "
            "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
        )
        return {name: (kind, width) for name, kind, width in self.connection.execute(statement, [self.name]).fetchall()}

    def _check(self, there: Mapping[str, tuple[str, int]]) -> None:
        views = ("dense", "sparse", "colbert")
        self.layout.refuse_other(f"the table {self.name!r}", {v: there[v][1] for v in views if v in there})
        kinds = {view: re.sub(r"\(\d+\)", "", kind) for view, kind in self._types().items()}
        wanted = {**kinds, "id": "text", "text": "text", "metadata": "jsonb"}
        for column, kind in wanted.items():
            found = there[column][0] if column in there else "nothing"
            if found != kind:
                raise InputError(
                    f"the table {self.name!r} has {found} as {column}, expected {kind}; choose another name"
                )
        comment = self.connection.execute("select obj_description(to_regclass(%s), 'pg_class')", [self.name])
        check_made_by(f"the table {self.name!r}", comment.fetchone()[0], self.layout.model)


def _ef_search(k: int, candidates: int) -> int:
    return min(_EF_PER_HIT * max(k, candidates), _MAX_EF_SEARCH)
