"""Rows for databases: what a plain reader makes of them is what the embeddings hold."""

import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from corpus import DIM, VOCABULARY, Document, documents, embeddings, scores

from m3rt import Embeddings, InputError, SparseVectors
from m3rt.adapters import Layout
from m3rt.adapters.elastic import elastic_mapping, elastic_sparse_query, to_elastic
from m3rt.adapters.milvus import NO_TOKEN, to_milvus
from m3rt.adapters.parts.documents import heaviest
from m3rt.adapters.pgvector import to_pgvector
from m3rt.adapters.qdrant import to_qdrant
from m3rt.adapters.vespa import to_vespa, vespa_application, vespa_query
from m3rt.adapters.weaviate import to_weaviate

DOCS = documents(40)
IDS = [f"doc {i}" for i in range(len(DOCS))]
TEXTS = [f"text {i}" for i in range(len(DOCS))]
METADATA: list[dict[str, Any] | None] = [{"place": i} if i % 2 else None for i in range(len(DOCS))]
LAYOUT = Layout(DIM, VOCABULARY, DIM)

Format = Callable[..., Iterator[dict[str, Any]]]


def to_postgres(*arguments: Any) -> Iterator[dict[str, Any]]:
    return to_pgvector(*arguments, vocabulary=VOCABULARY)


FORMATS = [to_qdrant, to_milvus, to_postgres, to_vespa, to_elastic, to_weaviate]


def rows(form: Format, docs: list[Document] = DOCS) -> list[dict[str, Any]]:
    n = len(docs)
    return list(form(embeddings(docs), IDS[:n], TEXTS[:n], METADATA[:n]))


def test_qdrant_points_hold_all_views() -> None:
    for i, (point, doc) in enumerate(zip(rows(to_qdrant), DOCS, strict=True)):
        assert UUID(point["id"])
        assert point["payload"] == {"id": IDS[i], "text": TEXTS[i], "metadata": METADATA[i] or {}}
        sparse = point["vector"]["sparse"]
        assert dict(zip(sparse["indices"], sparse["values"], strict=True)) == doc.terms
        np.testing.assert_array_equal(np.float32(point["vector"]["dense"]), doc.dense)
        np.testing.assert_array_equal(np.float32(point["vector"]["colbert"]), doc.colbert)


@pytest.mark.parametrize("form", [to_qdrant, to_weaviate])
def test_ids_become_uuids_that_are_always_the_same(form: Format) -> None:
    key = "id" if form is to_qdrant else "uuid"
    uuid = "7c1b6f0e-5a53-5d0c-9f0e-3d6c6d337274"
    names = ["a", "b", uuid, uuid.upper()]
    once, again = ([row[key] for row in form(embeddings(DOCS[:4]), names)] for _ in range(2))
    assert once == again
    assert once[2] == uuid
    assert len(set(once)) == 4


def test_milvus_rows_have_a_stand_in_for_an_empty_sparse_vector() -> None:
    for row, doc in zip(rows(to_milvus), DOCS, strict=True):
        assert row["sparse"] == (doc.terms or {NO_TOKEN: 1.0})
        np.testing.assert_array_equal(np.float32(row["dense"]), doc.dense)
        assert "colbert" not in row


def test_milvus_refuses_what_its_fields_cannot_hold() -> None:
    with pytest.raises(InputError, match=r"id 'é+.* has 600 bytes, expected at most 512"):
        to_milvus(embeddings(DOCS[:1]), ["é" * 300])
    with pytest.raises(InputError, match="the text of id 'a' has 70000 bytes, expected at most 65,535"):
        to_milvus(embeddings(DOCS[:1]), ["a"], ["x" * 70_000])


def test_pgvector_literals_read_back() -> None:
    for row, doc in zip(rows(to_postgres), DOCS, strict=True):
        weights, width = row["sparse"].rsplit("/", 1)
        pairs = [pair.split(":") for pair in weights.strip("{}").split(",") if pair]
        assert {int(i) - 1: np.float32(w) for i, w in pairs} == {i: np.float32(w) for i, w in doc.terms.items()}
        assert int(width) == VOCABULARY
        np.testing.assert_array_equal(np.float32(json.loads(row["dense"])), doc.dense)
        tokens = json.loads("[" + row["colbert"][1:-1] + "]")
        np.testing.assert_array_equal(np.float32([json.loads(token) for token in tokens]), doc.colbert)


def test_pgvector_keeps_the_heaviest_weights_and_says_how_many_were_cut() -> None:
    doc = max(DOCS, key=lambda doc: len(doc.terms))
    out = embeddings([doc, DOCS[0]])
    cut = sum(max(len(d.terms) - 2, 0) for d in (doc, DOCS[0]))
    with pytest.warns(UserWarning, match=f"^over 2 lexical weights in 2 texts; the {cut} smallest were cut$"):
        row = next(to_pgvector(out, ["a", "b"], vocabulary=VOCABULARY, max_nnz=2))
    top = sorted(doc.terms, key=lambda i: -doc.terms[i])[:2]
    assert {int(pair.split(":")[0]) - 1 for pair in row["sparse"].split("/")[0].strip("{}").split(",")} == set(top)


def test_a_cut_that_cuts_nothing_is_silent_and_exact() -> None:
    sparse = embeddings(DOCS).sparse
    assert sparse is not None
    kept, cut = heaviest(sparse, 1000)
    assert not cut.any()
    for name in ("indptr", "indices", "values"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(sparse, name))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows(to_postgres)


def test_of_equal_weights_the_smaller_ids_stay() -> None:
    sparse = SparseVectors(np.array([0, 3, 3, 5]), np.array([1, 4, 7, 2, 3], np.int32), np.ones(5, np.float32))
    kept, cut = heaviest(sparse, 2)
    assert (kept.indptr.tolist(), kept.indices.tolist(), cut.tolist()) == ([0, 2, 2, 4], [1, 4, 2, 3], [1, 0, 0])


def test_pgvector_refuses_a_nul_and_a_token_outside_the_vocabulary() -> None:
    with pytest.raises(InputError, match="holds a NUL"):
        to_pgvector(embeddings(DOCS[:1]), ["a"], ["x\0"], vocabulary=VOCABULARY)
    with pytest.raises(InputError, match="the metadata of 'a' holds a NUL"):
        to_pgvector(embeddings(DOCS[:1]), ["a"], None, [{"x": ["\0"]}], vocabulary=VOCABULARY)
    to_pgvector(embeddings(DOCS[:1]), ["a"], None, [{"x": r"\u0000"}], vocabulary=VOCABULARY)
    with pytest.raises(InputError, match="outside the vocabulary of 3"):
        to_pgvector(embeddings(DOCS), IDS, vocabulary=3)


def test_vespa_rank_expressions_over_the_feed_are_m3rts_scores() -> None:
    query = next(doc for doc in documents(9, seed=3) if doc.terms)
    asked = vespa_query(embeddings([query]), 5)
    q_dense, q_sparse, q_colbert = (asked[f"input.query(q_{v})"] for v in ("dense", "sparse", "colbert"))
    for row, doc in zip(rows(to_vespa), DOCS, strict=True):
        fields = json.loads(json.dumps(row))["fields"]
        wanted = scores(query, doc)
        assert np.dot(q_dense, fields["dense"]["values"]) == pytest.approx(wanted["dense"], abs=0.05)
        sparse = sum(weight * fields["sparse"].get(token, 0.0) for token, weight in q_sparse.items())
        assert sparse == pytest.approx(wanted["sparse"])
        best = [max(np.dot(q, t) for t in fields["colbert"].values()) for q in q_colbert.values()]
        assert sum(best) / asked["input.query(q_len)"] == pytest.approx(wanted["colbert"], abs=0.05)


def test_vespa_application_holds_the_widths_and_balanced_braces() -> None:
    files = vespa_application(Layout(1024, 250_002, 512))
    schema = files["schemas/m3.sd"]
    assert schema.count("{") == schema.count("}")
    assert "field dense type tensor<bfloat16>(x[1024])" in schema
    assert "query(q_colbert) tensor<float>(qt{},x[512])" in schema
    assert "(1.0 * dense() + 0.3 * sparse() + 1.0 * colbert()) / 2.3" in schema


def test_vespa_refuses_a_control_character_in_an_id() -> None:
    with pytest.raises(InputError, match="control character"):
        to_vespa(embeddings(DOCS[:1]), ["a\nb"])


def test_elastic_leaves_an_empty_sparse_vector_out() -> None:
    for action, doc in zip(rows(to_elastic), DOCS, strict=True):
        source = json.loads(json.dumps(action["_source"]))
        assert source.get("sparse", {}) == {str(token): weight for token, weight in doc.terms.items()}
        assert ("sparse" in source) == bool(doc.terms)


def test_elastic_has_a_field_for_all_that_is_sent() -> None:
    for product in ("elasticsearch", "opensearch"):
        fields = elastic_mapping(LAYOUT, product)["mappings"]["properties"]
        assert all(action["_source"].keys() <= fields.keys() for action in rows(to_elastic))
    assert elastic_mapping(LAYOUT)["mappings"]["properties"]["sparse"]["index_options"] == {"prune": False}


def test_an_elastic_query_carries_every_weight() -> None:
    query = next(doc for doc in DOCS if len(doc.terms) > 1)
    clause = elastic_sparse_query(embeddings([query]))["sparse_vector"]
    assert clause["query_vector"] == {str(token): weight for token, weight in query.terms.items()}
    should = elastic_sparse_query(embeddings([query]), "opensearch")["bool"]["should"]
    assert {c["rank_feature"]["field"]: c["rank_feature"]["boost"] for c in should} == {
        f"sparse.{token}": weight for token, weight in query.terms.items()
    }


def test_elastic_refuses_an_id_that_is_too_long() -> None:
    with pytest.raises(InputError, match="has 513 bytes, expected at most 512"):
        to_elastic(embeddings(DOCS[:1]), ["x" * 513])


def test_weaviate_objects_keep_the_id_as_a_property() -> None:
    for i, (row, doc) in enumerate(zip(rows(to_weaviate), DOCS, strict=True)):
        assert row["properties"] == {"document_id": IDS[i], "text": TEXTS[i], "metadata": METADATA[i] or {}}
        np.testing.assert_array_equal(np.float32(row["vector"]["colbert"]), doc.colbert)


@pytest.mark.parametrize("form", FORMATS)
def test_what_does_not_fit_together_is_refused_at_once(form: Format) -> None:
    out = embeddings(DOCS[:2])
    for arguments, line in [
        ((out, ["a"]), "embeddings hold 2 texts for 1 id"),
        ((out, ["a", "a"]), "id 1 is 'a' again"),
        ((out, ["a", 7]), "id 1 is 7, expected a string"),
        ((out, ["a", "b"], ["x"]), "texts has 1 item for 2 ids"),
        ((out, ["a", "b"], None, [{}, {"x": float("nan")}]), "the metadata of id 'b' is not JSON"),
        (([], []), "expected the Embeddings"),
    ]:
        with pytest.raises(InputError, match=line):
            form(*arguments)


@pytest.mark.parametrize("form", FORMATS)
def test_views_that_were_not_asked_for_are_left_out(form: Format) -> None:
    full = embeddings(DOCS[:2])
    out = Embeddings(full.dense_vecs, None, None, full.n_tokens, full.truncated)
    assert "sparse" not in str(list(form(out, ["a", "b"])))


def test_an_embedding_of_no_document_makes_no_row() -> None:
    for form in FORMATS:
        assert list(form(embeddings([]), [])) == []
