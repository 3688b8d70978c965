"""Vespa: operations for a feed, the application package that ranks three views, and queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..embeddings import Embeddings
from ..errors import InputError
from ..index.search.options import FUSION
from ..values.arguments import whole_number
from ..values.printable import to_json
from ..values.shown import shown
from .parts.documents import Documents
from .parts.layout import Layout

_SERVICES = """\
<?xml version="1.0" encoding="utf-8" ?>
<services version="1.0">
  <container id="default" version="1.0">
    <search/>
    <document-api/>
  </container>
  <content id="documents" version="1.0">
    <redundancy>1</redundancy>
    <documents>
      <document type="m3" mode="index"/>
    </documents>
    <nodes>
      <node distribution-key="0" hostalias="node1"/>
    </nodes>
  </content>
</services>
"""

_SCHEMA = """\
schema m3 {{
  document m3 {{
    field id type string {{ indexing: summary | attribute }}
    field text type string {{ indexing: summary | index }}
    field metadata type string {{ indexing: summary }}
    field dense type tensor<bfloat16>(x[{dense}]) {{
      indexing: attribute | index
      attribute {{ distance-metric: prenormalized-angular }}
    }}
    field sparse type tensor<float>(token{{}}) {{ indexing: attribute }}
    field colbert type tensor<bfloat16>(token{{}},x[{colbert}]) {{ indexing: attribute  attribute {{ paged }} }}
  }}
  rank-profile m3 {{
    inputs {{
      query(q_dense) tensor<bfloat16>(x[{dense}])
      query(q_sparse) tensor<float>(token{{}})
      query(q_colbert) tensor<float>(qt{{}},x[{colbert}])
      query(q_len) double
    }}
    function dense() {{ expression: sum(query(q_dense) * attribute(dense)) }}
    function sparse() {{ expression: sum(query(q_sparse) * attribute(sparse)) }}
    function colbert() {{
      expression: sum(reduce(sum(query(q_colbert) * attribute(colbert), x), max, token), qt) / query(q_len)
    }}
    first-phase {{ expression: {w_dense} * dense() + {w_sparse} * sparse() }}
    second-phase {{
      expression: ({w_dense} * dense() + {w_sparse} * sparse() + {w_colbert} * colbert()) / {total}
      rerank-count: {candidates}
    }}
    match-features: dense() sparse() colbert()
  }}
}}
"""


def to_vespa(
    embeddings: Embeddings,
    ids: Iterable[str],
    texts: Iterable[str] | None = None,
    metadata: Iterable[Mapping[str, Any] | None] | None = None,
    *,
    namespace: str = "m3rt",
) -> Iterator[dict[str, Any]]:
    """Feed operations {"put": "id:NAMESPACE:m3::ID", "fields": {..}}: as JSON lines, what `vespa feed` takes.

    metadata is a string of JSON. An empty sparse vector is an empty tensor, which scores 0. The rank profile of
    vespa_application() gives ColBERT as m3rt does, the **mean** over query tokens of the best match.
    Raises InputError for an id with control characters, which Vespa refuses, and for a namespace that it cannot read.
    """
    return operations(Documents.of(embeddings, ids, texts, metadata), namespace)


def operations(found: Documents, namespace: str) -> Iterator[dict[str, Any]]:
    """to_vespa() of documents."""
    check_namespace(namespace)
    for name in found.ids:
        if any(character < " " or character == "\x7f" for character in name):
            raise InputError(f"id {shown(name)} holds a control character, which Vespa refuses; give another")
    return (_operation(found, i, namespace) for i in range(len(found)))


def check_namespace(name: str) -> None:
    """Raise InputError for what cannot stand between the colons of an id."""
    if not name or ":" in name or not name.isprintable():
        raise InputError(f"the namespace is {shown(name)}, expected characters that print and no colon; choose another")


def vespa_application(layout: Layout, *, weights: Sequence[float] = FUSION, candidates: int = 100) -> dict[str, str]:
    """The files of an application package, by path: a schema `m3` with a rank profile `m3`, and services.xml.

    weights: of dense, sparse and ColBERT in the second phase's weighted mean; candidates: how many it ranks.
    Raises InputError for a layout without one of the three views.
    """
    if len(layout.widths()) != 3:
        raise InputError(f"layout has {', '.join(layout.widths())}, expected dense, sparse and colbert for this schema")
    w_dense, w_sparse, w_colbert = map(float, weights)
    schema = _SCHEMA.format(
        dense=layout.dense, colbert=layout.colbert, w_dense=w_dense, w_sparse=w_sparse, w_colbert=w_colbert,
        total=w_dense + w_sparse + w_colbert, candidates=whole_number("candidates", candidates, 1, 1 << 20),
    )  # fmt: skip
    return {"schemas/m3.sd": schema, "services.xml": _SERVICES}


def vespa_query(query: Embeddings, k: int = 10, *, candidates: int = 100) -> dict[str, Any]:
    """The body of a search by the one text in `query`, which has all three views: nearest neighbours, then the ranks.

    Raises InputError for embeddings of more than one text or without a view.
    """
    found = Documents.of(query, ["query"])
    dense, sparse, tokens = found.dense(0), found.sparse(0), found.colbert(0)
    if dense is None or sparse is None or tokens is None:
        raise InputError("a query needs dense, sparse and ColBERT outputs; encode it with all three")
    target = whole_number("candidates", candidates, 1, 1 << 20)
    return {
        "yql": f"select * from m3 where {{targetHits:{target}}}nearestNeighbor(dense, q_dense)",
        "ranking": "m3",
        "hits": whole_number("k", k, 1, 1 << 20),
        "input.query(q_dense)": dense,
        "input.query(q_sparse)": {str(token): weight for token, weight in sparse.items()},
        "input.query(q_colbert)": {str(place): vector for place, vector in enumerate(tokens)},
        "input.query(q_len)": len(tokens),
    }


def _operation(found: Documents, i: int, namespace: str) -> dict[str, Any]:
    fields = found.payload(i)
    if "metadata" in fields:
        fields["metadata"] = to_json(fields["metadata"])
    if (dense := found.dense(i)) is not None:
        fields["dense"] = {"values": dense}
    if (sparse := found.sparse(i)) is not None:
        fields["sparse"] = {str(token): weight for token, weight in sparse.items()}
    if (tokens := found.colbert(i)) is not None:
        fields["colbert"] = {str(place): vector for place, vector in enumerate(tokens)}
    return {"put": f"id:{namespace}:m3::{found.ids[i]}", "fields": fields}
