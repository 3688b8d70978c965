"""Values that callers pass: columns are read by position, and an unusable value is one line."""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import documents, embeddings
from odd_values import Column, Failing, Frame, Lazy, Loud, broken, odd_values

import m3rt
from m3rt import Embeddings, HybridIndex, InputError, M3Encoder, M3rtError, MultiVectors, SparseVectors
from m3rt.compat import BGEM3FlagModel
from m3rt.mteb import M3rtEncoder, M3rtSearch
from m3rt.values.counts import counted
from m3rt.values.listing import listed
from m3rt.values.shown import one_line, shown

TEXTS = ["ferry harbour", "bread", "a third text"]
SHARED = embeddings(documents(2))


def dictionary(values: list[Any]) -> dict[int, Any]:
    return dict(enumerate(values))


def arrow(values: list[Any]) -> Any:
    return pytest.importorskip("pyarrow").chunked_array([values[:1], values[1:]])


def pandas(values: list[Any]) -> Any:
    series = pytest.importorskip("pandas").Series(values, index=range(len(values), 0, -1))
    return series.rename("columns")


CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "tuple": tuple, "iterator": iter, "generator": lambda v: (x for x in v), "map": lambda v: map(str.strip, v),
    "deque": deque, "values": lambda v: dictionary(v).values(), "keys": lambda v: dict.fromkeys(v).keys(),
    "array of str": np.array, "array of objects": lambda v: np.array(v, dtype=object), "column": Column,
    "numpy str": lambda v: [np.str_(x) for x in v], "strided": lambda v: np.array([*v, *v])[::-1][: len(v)][::-1],
    "Arrow": arrow, "Series": pandas,
}  # fmt: skip


@pytest.fixture(scope="module")
def compat(bundle_fp32: Path) -> BGEM3FlagModel:
    return BGEM3FlagModel(bundle_fp32, devices="cpu", threads=1)


@pytest.fixture
def index(tmp_path: Path, fp32: M3Encoder) -> HybridIndex:
    made = HybridIndex.create(tmp_path / "index", fp32)
    made.add(["old"], ["an old text"])
    return made


# ---- containers


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_is_walked_by_position(
    container: str, fp32: M3Encoder, compat: BGEM3FlagModel, index: HybridIndex
) -> None:
    make, expected = CONTAINERS[container], fp32.encode(TEXTS).dense_vecs
    items = listed("texts", make(TEXTS))
    assert items == TEXTS
    assert {type(text) for text in items} == {str}
    for encoder in (fp32, compat):
        for method in ("encode", "encode_queries", "encode_corpus"):
            np.testing.assert_allclose(getattr(encoder, method)(make(TEXTS))["dense_vecs"], expected, atol=2e-6)
    streamed = [out.dense_vecs for out in fp32.stream(make(TEXTS), chunk_size=2)]
    np.testing.assert_allclose(np.concatenate(streamed), expected, atol=2e-6)  # type: ignore[arg-type]
    ids = ["c", "a", "b"]
    index.add(make(ids), make(TEXTS))
    best = {query: hits[0] for query, hits in zip(TEXTS, index.search_batch(make(TEXTS), 1), strict=True)}
    assert {query: (hit.id, hit.text) for query, hit in best.items()} == {
        text: (name, text) for name, text in zip(ids, TEXTS, strict=True)
    }
    assert index.delete(make(ids[:2])) == 2


@pytest.mark.parametrize(
    "container", sorted({*CONTAINERS} - {"map", "array of str", "keys", "numpy str", "strided", "Arrow"})
)
def test_containers_of_other_things_are_walked_by_position_too(
    container: str, fp32: M3Encoder, compat: BGEM3FlagModel, index: HybridIndex
) -> None:
    make = (lambda v: Column(v)) if container == "array of objects" else CONTAINERS[container]
    pairs = [("ferry", "harbour"), ("bread", "a third text")]
    for encoder in (fp32, compat):
        assert encoder.compute_score(make(pairs)) == encoder.compute_score(pairs)
        rows = [{5: 1.0}, {7: 2.0, 5: 1.0}]
        assert encoder.convert_id_to_token(make(rows)) == encoder.convert_id_to_token(rows)
    matrix = m3rt.lexical_matching_score(make(rows), make(rows))
    assert matrix.tolist() == [[1, 1], [1, 5]]  # type: ignore[union-attr]
    index.add(["x", "y"], ["bread", "ferry"], metadata=make([{"n": 1}, None]))
    assert {hit.id: hit.metadata for hit in index.search("bread")} == {"x": {"n": 1}, "y": {}, "old": {}}


def test_pairs_may_come_as_two_columns(fp32: M3Encoder) -> None:
    queries, passages = ["ferry", "bread"], ["harbour", "a third text"]
    expected = fp32.compute_score(list(zip(queries, passages, strict=True)))
    assert fp32.compute_score(zip(Column(queries), np.array(passages), strict=True)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Frame(), r"texts is a Frame of shape \(2, 2\), expected .*; give one of its columns"),
        (Lazy(), "texts is a Lazy, a table, expected"),
        (np.array([["a"]]), r"texts is a ndarray of shape \(1, 1\), expected"),
        (np.array("a"), r"texts is a ndarray without dimensions, expected .*item\(\)"),
        ({"a"}, "texts is a set, whose order means nothing"),
        ({"a": 1}, "texts is a dict, expected"),
        (b"ab", "texts is a bytes, expected"),
        (broken(), r"texts failed at item 1 \(KeyError: .*half way.*\), expected"),
        (Failing(), r"texts cannot be read \(RuntimeError: first line second line  \[31m\), expected"),
    ],
)
def test_what_is_no_list_is_refused_with_a_way_out(value: Any, message: str, fp32: M3Encoder) -> None:
    with pytest.raises(InputError, match=message):
        fp32.encode(value)


@pytest.mark.parametrize("missing", [None, float("nan"), odd_values()["NA"]], ids=["None", "nan", "NA"])
def test_a_missing_value_is_named_by_its_position(missing: Any, fp32: M3Encoder, index: HybridIndex) -> None:
    for call in (fp32.encode, index.search_batch, lambda texts: index.add(["x", "y"], texts)):
        with pytest.raises(InputError, match="text 1 is"):
            call(["a", missing])  # type: ignore[operator]
    with pytest.raises(InputError, match="id 1 is"):
        index.delete(["a", missing])
    with pytest.raises(InputError, match="the passage of pair 1 is"):
        fp32.compute_score([("a", "b"), ("c", missing)])


def test_columns_of_different_lengths_are_refused_with_both_counts(index: HybridIndex) -> None:
    with pytest.raises(InputError, match="2 texts for 3 ids"):
        index.add(iter("abc"), iter(["one", "two"]))
    with pytest.raises(InputError, match="1 metadata for 2 ids"):
        index.add(Column(["a", "b"]), Column(["one", "two"]), metadata=iter([{}]))
    with pytest.raises(InputError, match=r'metadata is a Frame .*df\.to_dict\("records"\)'):
        index.add(["a", "b"], ["one", "two"], metadata=Frame())  # type: ignore[arg-type]
    assert len(index) == 1


def test_a_stream_reads_a_generator_as_it_goes(fp32: M3Encoder) -> None:
    stream = fp32.stream((f"text {i}" for i in count()), chunk_size=2)
    assert [len(next(stream)), len(next(stream))] == [2, 2]


# ---- messages


def test_a_message_is_one_line_that_prints_and_keeps_its_ends() -> None:
    text = str(InputError("begin\n  next\tline \x1b[31m \x9b \u202e \ud800 " + "x" * 10**6 + " end"))
    assert text.startswith("begin next line  [31m       xxx")
    assert text.endswith(" end")
    assert text.isprintable()
    assert len(text) <= 399
    assert one_line("as it was", 9) == "as it was"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "'plain'"),
        (np.zeros((3, 4)), "a ndarray of shape (3, 4)"),
        (10**5000, "a whole number of 16610 bits"),
        (Failing(), "<Failing instance at"),
        ([10**5000], "a list"),
    ],
    ids=["str", "array", "huge", "failing", "list of huge"],
)
def test_any_value_can_be_shown(value: Any, expected: str) -> None:
    assert shown(value).startswith(expected)


def test_what_is_shown_is_short_and_prints() -> None:
    for name, value in {**odd_values(), "loud": Loud()}.items():
        assert shown(value).isprintable(), name
        assert len(shown(value)) <= 60, name


# ---- any value in any place

Call = Callable[["Place", Any], object]


class Place:
    """Holds the objects that the calls below need."""

    def __init__(self, encoder: M3Encoder, compat: BGEM3FlagModel, directory: Path) -> None:
        self.encoder, self.compat, self.directory = encoder, compat, directory
        self.index = HybridIndex.create(directory / "index", encoder, colbert="int8")
        self.index.add(["a"], ["ferry harbour"], metadata=[{"lang": "de"}])
        self.mteb, self.search = M3rtEncoder(encoder), M3rtSearch(encoder, mode="dense")
        self.search.index([{"id": "d", "text": "ferry"}])
        self.made = 0

    def create(self, **options: Any) -> HybridIndex:
        """Make an index with a new name."""
        self.made += 1
        return HybridIndex.create(self.directory / f"made-{self.made}", **{"model": self.encoder, **options})

    def open(self, **options: Any) -> M3Encoder:
        return M3Encoder(**{"model": self.encoder.path, **options})

    def drop_in(self, **options: Any) -> BGEM3FlagModel:
        return BGEM3FlagModel(**{"model_name_or_path": self.encoder.path, **options})

    def mode(self, **options: Any) -> M3rtSearch:
        return M3rtSearch(self.encoder, **options)


def arguments(method: str, names: str, *positional: Any, **others: Any) -> dict[str, Call]:
    """Make a call of `method`, a path from Place, for each keyword in `names`, which takes the odd value."""

    def call(place: Place, value: Any, name: str) -> object:
        function: Any = place
        for part in method.split("."):
            function = getattr(function, part)
        result = function(*positional, **{**others, name: value})
        return list(result) if hasattr(result, "__next__") else result

    return {f"{method} {name}": (lambda p, v, name=name: call(p, v, name)) for name in names.split()}  # type: ignore[misc]


HEADS = "return_dense return_sparse return_colbert_vecs"
PAIR = [("a", "b")]
VECTORS = np.eye(2, dtype=np.float32)
FIELDS = {name: getattr(SHARED, name) for name in ("dense_vecs", "sparse", "multi", "n_tokens", "truncated")}
CALLS: dict[str, Call] = {
    **arguments("encoder.encode", "texts"),
    **arguments(
        "encoder.encode", f"{HEADS} max_length truncate_dim dense_precision dense_ranges colbert_precision", ["a"]
    ),
    **arguments("encoder.prepare", "texts"),
    **arguments(
        "encoder.prepare", f"{HEADS} max_length truncate_dim dense_precision dense_ranges colbert_precision", ["a"]
    ),
    "encoder.aencode texts": lambda p, v: asyncio.run(p.encoder.aencode(v)),
    **arguments("encoder.encode_queries", "queries"),
    **arguments("encoder.encode_corpus", "corpus"),
    **arguments("encoder.stream", "texts"),
    **arguments("encoder.stream", "chunk_size", ["a"]),
    **arguments("encoder.tokenize", "text"),
    **arguments("encoder.tokenize", "max_length", "a"),
    **arguments("encoder.compute_score", "sentence_pairs"),
    **arguments("encoder.compute_score", "max_query_length max_passage_length weights_for_different_modes", PAIR),
    **arguments("encoder.convert_id_to_token", "lexical_weights"),
    **arguments("open", "model device engine threads batch_tokens"),
    "one of a pair": lambda p, v: p.encoder.compute_score([("a", v)]),
    "show_progress": lambda p, v: callable(v) or p.encoder.encode(["a"], show_progress=v),
    "with_engine": lambda p, v: M3Encoder.with_engine(v, p.encoder.engine),
    "token id": lambda p, v: p.encoder.convert_id_to_token({v: 1.0}) if isinstance(v, str | int | float) else None,
    "lexical 1": lambda p, v: m3rt.lexical_matching_score(v, {"a": 1.0}),
    "lexical 2": lambda p, v: m3rt.lexical_matching_score([{"a": 1.0}], v),
    "lexical weight": lambda p, v: m3rt.lexical_matching_score({"a": v}, {"a": 1.0}),
    "q_reps": lambda p, v: m3rt.colbert_score(v, VECTORS),
    "p_reps": lambda p, v: m3rt.colbert_score(VECTORS, v),
    **{f"Embeddings {name}": (lambda p, v, name=name: Embeddings(**{**FIELDS, name: v})) for name in FIELDS},  # type: ignore[misc]
    "SparseVectors": lambda p, v: SparseVectors(v, np.zeros(0, np.int32), np.zeros(0, np.float32)),
    "MultiVectors": lambda p, v: MultiVectors(v, np.zeros(1, np.int64)),
    **arguments("drop_in", "model_name_or_path normalize_embeddings devices device pooling_method colbert_dim threads"),
    **arguments("compat.encode", "sentences"),
    **arguments("compat.encode", f"batch_size max_length instruction {HEADS}", ["a"]),
    **arguments("compat.encode", "instruction_format", ["a"], instruction="Find"),
    **arguments("compat.encode_queries", "queries"),
    **arguments("compat.encode_corpus", "corpus"),
    **arguments("compat.encode_single_device", "sentences"),
    **arguments("compat.encode_single_device", "batch_size max_length device", ["a"]),
    **arguments("compat.encode_multi_process", "sentences", pool={}),
    **arguments("compat.compute_score", "sentence_pairs"),
    **arguments("compat.compute_score", "batch_size max_query_length weights_for_different_modes", PAIR),
    **arguments("compat.compute_score_single_device", "device", PAIR),
    **arguments("compat.convert_id_to_token", "lexical_weights"),
    **arguments("compat.compute_lexical_matching_score", "lexical_weights_1", lexical_weights_2={}),
    **arguments("compat.colbert_score", "q_reps", p_reps=VECTORS),
    **arguments("compat.get_detailed_instruct", "instruction_format", instruction="a", sentence="b"),
    **arguments("compat.get_detailed_instruct", "instruction", instruction_format="{}{}", sentence="b"),
    **arguments("compat.get_detailed_instruct", "sentence", instruction_format="{}{}", instruction="b"),
    **arguments("compat.start_multi_process_pool", "process_target_func"),
    **arguments("compat.stop_multi_process_pool", "pool"),
    **arguments("compat.tokenizer", "text"),
    **arguments("compat.tokenizer", "max_length truncation padding add_special_tokens", "a"),
    **arguments("compat.tokenizer.encode", "text"),
    **arguments("compat.tokenizer.tokenize", "text"),
    **arguments("compat.tokenizer.decode", "token_ids"),
    **arguments("compat.tokenizer.convert_ids_to_tokens", "ids"),
    **arguments("compat.tokenizer.convert_tokens_to_ids", "tokens"),
    "path of an index": lambda p, v: HybridIndex(v),
    "path of a new index": lambda p, v: HybridIndex.create(v, p.encoder),
    "model of an index": lambda p, v: HybridIndex(p.index.path, v),
    "threads of an index": lambda p, v: HybridIndex(p.index.path, threads=v),
    **arguments("create", "model dense sparse colbert chunk_tokens"),
    **arguments("create", "dim colbert_dim", model=None, dim=8),
    **arguments("create", "chunk_overlap", chunk_tokens=64),
    **arguments("index.add", "ids", texts=["a", "b"]),
    **arguments("index.add", "texts metadata", ["x", "y"], texts=["a", "b"]),
    **arguments("index.add", "embeddings note", ["x"], texts=["a"]),
    **arguments("index.delete", "ids"),
    **arguments("index.compact", "drop_damaged"),
    **arguments("index.search", "query"),
    **arguments(
        "index.search", "k mode fusion candidates rerank filter explain rerank_candidates chunks exact", "ferry"
    ),
    **arguments("index.stored", "batch"),
    **arguments("index.context", "question"),
    **arguments("index.context", "tokens k mode filter rerank", "ferry"),
    **arguments("index.search_batch", "queries"),
    "filter value": lambda p, v: p.index.search("ferry", filter={"lang": v}),
    "metadata value": lambda p, v: p.index.add(["z"], ["a"], metadata=[{"lang": v}]),
    "note value": lambda p, v: p.index.add(["z"], ["a"], note={"done": v}),
    "progress of verify": lambda p, v: callable(v) or p.index.verify(v),
    "model of a search": lambda p, v: M3rtSearch(v),
    **arguments("mode", "mode weights", mode="all"),
    "batch": lambda p, v: p.mteb.encode(v),
    "texts of a batch": lambda p, v: p.mteb.encode([{"text": v}]),
    "documents": lambda p, v: p.mode(mode="dense").index(v),
    "document": lambda p, v: p.mode(mode="dense").index([{"id": "a", "text": "b", "title": v}]),
    "id of a document": lambda p, v: p.mode(mode="dense").index([{"id": v, "text": "b"}]),
    **arguments("search.search", "queries", top_k=3),
    **arguments("search.search", "top_k top_ranked", [{"id": "q", "text": "ferry"}], top_k=3),
    "documents of a query": lambda p, v: p.search.search([{"id": "q", "text": "a"}], top_k=3, top_ranked={"q": v}),
}


@pytest.fixture(scope="module")
def place(fp32: M3Encoder, compat: BGEM3FlagModel, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(fp32, compat, tmp_path_factory.mktemp("place"))


def complaint(call: Callable[[], object]) -> str | None:
    """Say what is wrong with the end of a call: nothing for a result, or for an error of one printable line."""
    try:
        call()
    except M3rtError as error:
        message = str(error)
        return None if message.isprintable() and 0 < len(message) < 400 else f"the message {message!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", CALLS)
def test_any_value_gives_a_result_or_one_line(
    name: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # since some values name a path
    complaints = {odd: complaint(lambda value=value: CALLS[name](place, value)) for odd, value in odd_values().items()}  # type: ignore[misc]
    assert {odd: wrong for odd, wrong in complaints.items() if wrong} == {}
    assert len(HybridIndex(place.index.path)) == len(place.index)


def test_every_public_function_is_tried() -> None:
    tried = " ".join(CALLS)
    for prefix, owner in (("encoder", M3Encoder), ("compat", BGEM3FlagModel), ("index", HybridIndex)):
        for method in vars(owner):
            aside = ("tokenizer", "path", "device", "encoder", "queue", "settings", "note", "info", "refresh",
                     "stop_self_pool", "compute_score_multi_process", "create", "verify", "with_engine",
                     "forked")  # fmt: skip
            assert method[0] == "_" or method in aside or f"{prefix}.{method}" in tried, method


def test_one_of_a_kind_is_no_plural() -> None:
    assert [counted(n, "text") for n in (0, 1, 2000)] == ["0 texts", "1 text", "2,000 texts"]
    assert [counted(n, "query", "queries") for n in (1, 2)] == ["1 query", "2 queries"]
