"""Bundles in mteb: its task classes and its evaluators score them on data made here."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences

from m3rt import InputError, M3Encoder
from m3rt.mteb import M3rtEncoder, M3rtSearch

# Each query is the beginning of one document, and each document has a title.
DOCUMENTS = {f"d{i}": text for i, text in enumerate(sentences()[:40])}
QUERIES = {f"q{i}": DOCUMENTS[f"d{i}"][:24] for i in range(0, 40, 4)}
RELEVANT = {key: {f"d{key[1:]}": 1} for key in QUERIES}


@pytest.fixture(scope="module")
def mteb() -> Any:
    logging.disable(logging.WARNING)
    return pytest.importorskip("mteb")


@pytest.fixture
def retrieval(mteb: Any) -> Any:
    """Make a retrieval task with this data."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class Beginnings(AbsTaskRetrieval):  # type: ignore[misc]
        metadata = TaskMetadata(
            name="Beginnings", description="documents by their beginnings", type="Retrieval", category="t2t",
            dataset={"path": "none", "revision": "none"}, eval_splits=["test"], eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )  # fmt: skip

        def load_data(self, *_: Any, **__: Any) -> None:
            corpus = [{"id": key, "title": "A title", "text": text} for key, text in DOCUMENTS.items()]
            queries = [{"id": key, "text": text} for key, text in QUERIES.items()]
            data = {
                "corpus": Dataset.from_list(corpus),
                "queries": Dataset.from_list(queries),
                "relevant_docs": RELEVANT,
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": data}}
            self.data_loaded = True

    return Beginnings()


def scored(mteb: Any, model: Any, task: Any) -> float:
    result = mteb.evaluate(model, [task], cache=None, show_progress_bar=False)
    return float(result.task_results[0].get_score())


def oracle(scores: np.ndarray[Any, Any]) -> float:
    """Compute nDCG@10 with one relevant document for each query, by a plain loop."""
    values = []
    for row, key in zip(scores, QUERIES, strict=True):
        rank = sorted(range(len(row)), key=lambda d: -row[d]).index(int(key[1:]))
        values.append(1 / np.log2(rank + 2) if rank < 10 else 0.0)
    return float(np.mean(values))


@pytest.mark.parity
@pytest.mark.filterwarnings("default")
def test_mteb_scores_a_dense_encoder_as_its_vectors_say(mteb: Any, retrieval: Any, fp32: M3Encoder) -> None:
    queries = fp32.encode_queries(list(QUERIES.values())).dense_vecs
    corpus = fp32.encode_corpus([f"A title {text}" for text in DOCUMENTS.values()]).dense_vecs
    assert queries is not None
    assert corpus is not None
    assert scored(mteb, M3rtEncoder(fp32), retrieval) == pytest.approx(oracle(queries @ corpus.T), abs=1e-4)


@pytest.mark.parity
@pytest.mark.filterwarnings("default")
def test_mteb_scores_all_views_together(mteb: Any, retrieval: Any, fp32: M3Encoder) -> None:
    pairs = [(query, f"A title {text}") for query in QUERIES.values() for text in DOCUMENTS.values()]
    scores = fp32.compute_score(pairs, weights_for_different_modes=[1, 0.3, 1])["colbert+sparse+dense"]
    expected = oracle(np.array(scores).reshape(len(QUERIES), len(DOCUMENTS)))
    assert scored(mteb, M3rtSearch(fp32, mode="all"), retrieval) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parity
@pytest.mark.filterwarnings("default")
def test_mteb_takes_both_for_what_they_are(mteb: Any, fp32: M3Encoder) -> None:
    from mteb.models.models_protocols import EncoderProtocol, SearchProtocol

    encoder, search = M3rtEncoder(fp32), M3rtSearch(fp32)
    assert isinstance(encoder, EncoderProtocol)
    assert not isinstance(encoder, SearchProtocol)
    assert isinstance(search, SearchProtocol)
    assert not isinstance(search, EncoderProtocol)
    meta = search.mteb_model_meta
    assert meta.name == "local/tiny-m3"
    assert meta.experiment_kwargs["mode"] == "all"


def test_a_search_among_given_documents_finds_no_others(fp32: M3Encoder) -> None:
    search = M3rtSearch(fp32, mode="dense+sparse rrf")
    search.index([{"id": key, "text": text} for key, text in DOCUMENTS.items()])
    queries = [{"id": "q0", "text": QUERIES["q0"]}, {"id": "q4", "text": QUERIES["q4"]}]
    hits = search.search(queries, top_k=3, top_ranked={"q0": ["d7", "d0"], "q4": []})
    assert set(hits["q0"]) == {"d0", "d7"}
    assert hits["q4"] == {}
    everything = search.search(queries, top_k=3)
    assert [len(scores) for scores in everything.values()] == [3, 3]


def test_a_mode_that_cannot_be_is_one_line(fp32: M3Encoder, checkpoint: Path, tmp_path: Path) -> None:
    from m3rt_export import export

    with pytest.raises(InputError, match=r"mode is 'best', expected one of dense, [^\n]+"):
        M3rtSearch(fp32, mode="best")
    dense = export(checkpoint, tmp_path / "dense", precision="fp32", dense_only=True).path
    with pytest.raises(InputError, match=r"no sparse and ColBERT heads for the mode 'all'; use 'dense'"):
        M3rtSearch(dense)
    assert M3rtSearch(dense, mode="dense", threads=1).mode == "dense"
    with pytest.raises(InputError, match=r"'q' is a list, expected text"):
        M3rtSearch(fp32).index([{"id": "q", "text": ["a", "b"]}])
