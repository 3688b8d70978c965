"""M3Encoder gives each text the same three views, whatever the order, the batch, the length and the thread."""

import inspect
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import onnxruntime
import pytest
import rounding
from checkpoints import sentences, write_checkpoint, write_json, xlm_roberta_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_export import export
from m3rt_export.tensors.reader import open_tensors
from m3rt_export.texts import GOLDEN_TEXTS
from tokenizers import Tokenizer
from torch_archive import write_torch_file

from m3rt import Embeddings, EngineError, InputError, M3Encoder
from m3rt.bundle import open_bundle
from m3rt.engines import Heads, Outputs, load_engine

ALL = {"return_dense": True, "return_sparse": True, "return_colbert_vecs": True}
HEADS = [dict(zip(ALL, asked, strict=True)) for asked in product([True, False], repeat=3) if any(asked)]
LONG = " ".join(sentences())
TEXTS = [*sentences()[::3], "", " ", "a", "<pad> <s> typed </s>", "x\0y", "word " * 40, LONG[:700], LONG]
# fp32 sums in another order; int8 may round an activation the other way after that, by a whole step.
TOLERANCE = {"fp32": rounding.FP32, "int8": 2e-2}
# Characters that a normaliser or an added token could join across the space where a long text is cut.
FRAGMENTS = [
    " ",
    " ",
    "  ",
    "\n",
    "\t",
    "\u3000",
    "\u200b",
    "\u0301",
    " \u0301",
    "ferry",
    "é",
    "東京",
    "🚀\u200d",
    "क्त",
]
FRAGMENTS += ["<pad>", " <mask>", "</s>", "▁", "ﬁ", "´"]
LETTERS = st.characters(exclude_categories=["Cs"])
fuzz = settings(max_examples=120)


def distance(one: Embeddings, i: int, other: Embeddings, j: int) -> float:
    """Return the largest difference between two rows; weights count relative to the largest weight."""
    assert one.n_tokens[i] == other.n_tokens[j]
    assert one.truncated[i] == other.truncated[j]
    gaps = []
    if one.dense_vecs is not None and other.dense_vecs is not None:
        gaps.append(np.abs(one.dense_vecs[i] - other.dense_vecs[j]).max())
    if one.lexical_weights is not None and other.lexical_weights is not None:
        a, b = one.lexical_weights[i], other.lexical_weights[j]
        gaps.append(max((abs(a.get(t, 0) - b.get(t, 0)) for t in {*a, *b}), default=0) / max([1, *a.values()]))
    if one.colbert_vecs is not None and other.colbert_vecs is not None:
        gaps.append(np.abs(one.colbert_vecs[i] - other.colbert_vecs[j]).max())
    return float(max(gaps))


def assert_same_rows(one: Embeddings, other: Embeddings, tolerance: float = TOLERANCE["fp32"]) -> None:
    assert len(one) == len(other)
    assert all(distance(one, i, other, i) <= tolerance for i in range(len(one)))


@cache
def alone(model: M3Encoder, text: str) -> Embeddings:
    return model.encode(text, **ALL)


@cache
def with_budget(bundle: Path, batch_tokens: int) -> M3Encoder:
    return M3Encoder(bundle, threads=1, batch_tokens=batch_tokens)


@cache
def truncating_tokenizer(max_length: int) -> Tokenizer:
    tokenizer = Tokenizer.from_str(xlm_roberta_tokenizer().to_str())
    tokenizer.enable_truncation(max_length)
    return tokenizer


def fresh(bundle: Path) -> M3Encoder:
    return M3Encoder(bundle, threads=1)


# ---- a text beside others


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@given(
    texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=24),
    budget=st.sampled_from([1, 40, 300, 10**6]),
    heads=st.sampled_from(HEADS),
)
@fuzz
def test_batch_row_equals_single_encoding(
    bundle_fp32: Path, bundle_int8: Path, precision: str, texts: list[str], budget: int, heads: dict[str, bool]
) -> None:
    model = with_budget({"fp32": bundle_fp32, "int8": bundle_int8}[precision], budget)
    batch = model.encode(texts, **heads)
    worst = max(distance(batch, i, alone(model, text), 0) for i, text in enumerate(texts))
    assert worst <= TOLERANCE[precision]


def test_results_keep_the_input_order(fp32: M3Encoder) -> None:
    forwards, backwards = fp32.encode(TEXTS, **ALL), fp32.encode(TEXTS[::-1], **ALL)
    assert max(distance(forwards, i, backwards, -1 - i) for i in range(len(TEXTS))) <= TOLERANCE["fp32"]


def test_a_pass_of_more_than_8192_tokens_changes_nothing(bundle_fp32: Path) -> None:
    texts = [f"{i} {LONG}" for i in range(70)]
    wide = with_budget(bundle_fp32, 10**6).encode(texts, **ALL)
    assert wide.n_tokens.sum() > 8192
    assert_same_rows(wide, with_budget(bundle_fp32, 1).encode(texts, **ALL))


def test_many_threads_share_one_encoder(bundle_fp32: Path) -> None:
    model = M3Encoder(bundle_fp32, threads=2, batch_tokens=200)
    jobs = [TEXTS[i : i + 7] for i in range(len(TEXTS) - 7)] * 4
    expected = [model.encode(texts, **ALL) for texts in jobs]
    with ThreadPoolExecutor(8) as pool:
        actual = list(pool.map(lambda texts: model.encode(texts, **ALL), jobs))
    for one, other in zip(expected, actual, strict=True):
        np.testing.assert_array_equal(one.dense_vecs, other.dense_vecs)
        np.testing.assert_array_equal(one.multi.vectors, other.multi.vectors)
        assert one.lexical_weights == other.lexical_weights


# ---- empty, odd and unusable texts


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("dim", [None, 8])
def test_no_texts_give_empty_arrays_of_the_right_shape(bundle_fp32: Path, heads: dict[str, bool], dim: Any) -> None:
    with pytest.warns(UserWarning, match="truncate_dim") if dim else pytest.MonkeyPatch.context():
        out = fresh(bundle_fp32).encode([], **heads, truncate_dim=dim)
    assert (len(out), out.n_tokens.shape, out.truncated.shape) == (0, (0,), (0,))
    assert (out.n_tokens.dtype, out.truncated.dtype) == (np.int64, np.bool_)
    if heads["return_dense"]:
        assert (out.dense_vecs.shape, out.dense_vecs.dtype) == ((0, dim or 32), np.float32)
    if heads["return_sparse"]:
        parts = (out.sparse.indptr, out.sparse.indices, out.sparse.values)
        assert [(p.tolist(), p.dtype) for p in parts] == [([0], np.int64), ([], np.int32), ([], np.float32)]
        assert out.lexical_weights == []
    if heads["return_colbert_vecs"]:
        assert (out.multi.vectors.shape, out.multi.vectors.dtype) == ((0, dim or 32), np.float32)
        assert (out.multi.offsets.tolist(), out.colbert_vecs) == ([0], [])


def test_an_empty_text_is_a_text(fp32: M3Encoder) -> None:
    out = fp32.encode([""], **ALL)
    assert out.n_tokens.tolist() == [2]
    assert np.linalg.norm(out.dense_vecs) == pytest.approx(1)
    assert out.lexical_weights == [{}]
    assert [v.shape for v in out.colbert_vecs] == [(1, 32)]


def test_a_str_counts_as_one_text(fp32: M3Encoder) -> None:
    out = fp32.encode("ab", **ALL)
    assert (len(out), out.dense_vecs.shape) == (1, (1, 32))
    assert_same_rows(out, fp32.encode(["ab"], **ALL), 0)


@pytest.mark.parametrize("container", [tuple, iter, np.array], ids=["tuple", "iterator", "array"])
def test_any_iterable_of_str_will_do(fp32: M3Encoder, container: Any) -> None:
    assert_same_rows(fp32.encode(container(TEXTS[:3])), fp32.encode(TEXTS[:3]), 0)


@pytest.mark.parametrize("bad", [b"bytes", None, {"text": "x"}, 7, ["nested"]])
@pytest.mark.parametrize("method", ["encode", "encode_queries", "encode_corpus"])
def test_what_is_no_str_is_refused_by_index_and_type(fp32: M3Encoder, method: str, bad: Any) -> None:
    with pytest.raises(InputError, match=f"^text 2 is an? {type(bad).__name__}, expected str$"):
        getattr(fp32, method)(["a", "b", bad, bad])
    if not isinstance(bad, list):
        with pytest.raises(InputError, match=f"^texts is an? {type(bad).__name__}, expected a str or a list of str$"):
            getattr(fp32, method)(bad)


def test_a_lone_surrogate_is_refused_by_index_and_place(fp32: M3Encoder) -> None:
    with pytest.raises(InputError, match=r"^text 1 .* U\+DC80 at character 3: .*repair it") as caught:
        fp32.encode(["fine 🚀", "abc\udc80"])
    assert "\n" not in str(caught.value)


def test_nul_bytes_end_no_text(fp32: M3Encoder) -> None:
    assert fp32.tokenize("ferry\0 harbour") == xlm_roberta_tokenizer().encode("ferry\0 harbour").ids
    assert fp32.encode("ferry\0 harbour").n_tokens > fp32.encode("ferry").n_tokens


# ---- length


@pytest.mark.parametrize("max_length", [3, 4, 17, 127, 128])
def test_truncation_is_flagged_and_keeps_the_last_special_token(fp32: M3Encoder, max_length: int) -> None:
    whole = [xlm_roberta_tokenizer().encode(text).ids for text in TEXTS]
    out = fp32.encode(TEXTS, max_length=max_length)
    assert out.n_tokens.tolist() == [min(len(ids), max_length) for ids in whole]
    assert out.truncated.tolist() == [len(ids) > max_length for ids in whole]
    for text, ids in zip(TEXTS, whole, strict=True):
        cut = ids if len(ids) <= max_length else [*ids[: max_length - 1], 2]
        assert fp32.tokenize(text, max_length=max_length) == cut


@pytest.mark.parametrize("max_length", [-1, 0, 2, 129, 10**9])
def test_a_max_length_out_of_range_is_refused_with_the_range(fp32: M3Encoder, max_length: int) -> None:
    with pytest.raises(InputError, match=rf"max_length is {max_length}, expected 3\.\.128"):
        fp32.encode("x", max_length=max_length)


@given(st.lists(st.sampled_from(FRAGMENTS) | LETTERS, min_size=50, max_size=300).map("".join))
@settings(fuzz, max_examples=300)
def test_a_long_text_is_cut_as_if_it_had_been_tokenized_whole(fp32: M3Encoder, text: str) -> None:
    for max_length in (3, 5, 9):
        assert fp32.tokenize(text, max_length=max_length) == truncating_tokenizer(max_length).encode(text).ids


@pytest.mark.parametrize("text", ["東京タワーの高さは" * 5000, "x" * 100_000, "a " + "東京タワーの高さは" * 5000])
def test_a_long_text_without_spaces_is_cut_right(fp32: M3Encoder, text: str) -> None:
    assert fp32.tokenize(text) == truncating_tokenizer(128).encode(text).ids
    assert fp32.encode(text).truncated.all()


def test_ten_megabytes_cost_no_more_than_their_head(fp32: M3Encoder) -> None:
    text = "The ferry leaves the harbour at seven. " * 260_000
    started = process_time()
    ids = fp32.tokenize(text)
    ours = process_time() - started
    assert ids == truncating_tokenizer(128).encode_batch_fast([text])[0].ids
    assert ours * 10 < process_time() - started  # about 200 times less


# ---- heads


@pytest.mark.parametrize("heads", HEADS)
def test_a_view_that_is_not_asked_for_is_none(fp32: M3Encoder, heads: dict[str, bool]) -> None:
    out = fp32.encode("x", **heads)
    assert (out.dense_vecs is not None) == heads["return_dense"]
    assert (out.sparse is not None) == (out.lexical_weights is not None) == heads["return_sparse"]
    assert (out.multi is not None) == (out.colbert_vecs is not None) == heads["return_colbert_vecs"]
    assert_same_rows(out, alone(fp32, "x"))


@pytest.mark.parametrize("heads", HEADS)
def test_the_graph_computes_no_head_that_is_not_asked_for(bundle_fp32: Path, heads: dict[str, bool]) -> None:
    session = onnxruntime.InferenceSession(bundle_fp32 / "model.onnx", providers=["CPUExecutionProvider"])
    ids = np.array([[0, 5, 6, 2]])
    switches = {name: np.array(on) for name, on in heads.items()}
    arrays = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids), **switches})
    assert [array.size > 0 for array in arrays] == list(heads.values())


def test_nothing_asked_is_refused(fp32: M3Encoder) -> None:
    with pytest.raises(InputError, match="nothing to compute"):
        fp32.encode("x", return_dense=False)


def test_prepare_takes_the_options_of_encode_with_their_defaults() -> None:
    options = dict(inspect.signature(M3Encoder.encode).parameters)
    del options["show_progress"]
    assert dict(inspect.signature(M3Encoder.prepare).parameters) == options


def test_embeddings_are_a_mapping_too(fp32: M3Encoder) -> None:
    out = fp32.encode(["a", "b c"], **ALL)
    assert out["dense_vecs"] is out.dense_vecs
    assert out["lexical_weights"] == out.lexical_weights
    assert set(dict(out)) == {"dense_vecs", "sparse", "lexical_weights", "colbert_vecs", "n_tokens", "truncated"}
    with pytest.raises(KeyError, match="'dense', expected one of dense_vecs"):
        out["dense"]


def test_sparse_rows_are_sorted_and_hold_no_special_token(fp32: M3Encoder) -> None:
    out = fp32.encode(TEXTS, return_sparse=True)
    for i in range(len(out)):
        ids, values = out.sparse.row(i)
        assert (np.diff(ids) > 0).all()
        assert (values > 0).all()
        assert set(ids.tolist()).isdisjoint([0, 1, 2, 3])


def test_colbert_rows_are_views_of_one_array(fp32: M3Encoder) -> None:
    out = fp32.encode(TEXTS[:5], return_colbert_vecs=True)
    assert [len(v) for v in out.colbert_vecs] == (out.n_tokens - 1).tolist()
    assert all(np.shares_memory(v, out.multi.vectors) for v in out.colbert_vecs)


# ---- Matryoshka and prompts


def test_truncate_dim_keeps_the_first_components_and_normalises_again(bundle_fp32: Path) -> None:
    model = fresh(bundle_fp32)
    with pytest.warns(UserWarning, match="not trained for truncate_dim=8"):
        out = model.encode(TEXTS, **ALL, truncate_dim=8)
    whole = model.encode(TEXTS, **ALL)
    for cut, full in ((out.dense_vecs, whole.dense_vecs), (out.multi.vectors, whole.multi.vectors)):
        expected = full[:, :8] / np.linalg.norm(full[:, :8], axis=1, keepdims=True)
        np.testing.assert_allclose(cut, expected, atol=1e-6)
    assert out.lexical_weights == whole.lexical_weights


def test_truncate_dim_warns_once(bundle_fp32: Path) -> None:
    model = fresh(bundle_fp32)
    with pytest.warns(UserWarning, match="truncate_dim") as caught:
        model.encode("x", truncate_dim=8)
    assert caught[0].filename == __file__
    model.encode("x", truncate_dim=4)  # a second warning would be an error


def test_a_trained_or_whole_dim_does_not_warn(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "matryoshka")
    add_to_json(checkpoint / "config.json", matryoshka_dimensions=[32, 16])
    model = fresh(export(checkpoint, tmp_path / "bundle", precision="fp32").path)
    assert model.encode("x", truncate_dim=16).dense_vecs.shape == (1, 16)
    assert model.encode("x", truncate_dim=32).dense_vecs.shape == (1, 32)


@pytest.mark.parametrize("dim", [0, -1, 33])
def test_a_truncate_dim_out_of_range_is_refused(fp32: M3Encoder, dim: int) -> None:
    with pytest.raises(InputError, match=rf"truncate_dim is {dim}, expected 1\.\.32"):
        fp32.encode("x", truncate_dim=dim)


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> M3Encoder:
    directory = tmp_path_factory.mktemp("prompted")
    checkpoint = write_checkpoint(directory / "checkpoint")
    prompts = {"query": "query: ", "passage": "passage: "}
    write_json(checkpoint / "config_sentence_transformers.json", {"prompts": prompts})
    return fresh(export(checkpoint, directory / "bundle", precision="fp32").path)


@pytest.mark.parametrize(("method", "prompt"), [
    ("encode_queries", "query: "), ("encode_corpus", "passage: "), ("encode", ""),
])  # fmt: skip
def test_a_prompt_stands_before_every_text_of_its_role(prompted: M3Encoder, method: str, prompt: str) -> None:
    encode = getattr(prompted, method)
    for texts, expected in ((["ferry", ""], [prompt + "ferry", prompt]), ("ferry", prompt + "ferry")):
        assert_same_rows(encode(texts, **ALL), prompted.encode(expected, **ALL), 0)


def test_without_prompts_queries_are_plain_texts(fp32: M3Encoder) -> None:
    assert_same_rows(fp32.encode_queries(["ferry"], **ALL), fp32.encode(["ferry"], **ALL), 0)


# ---- streams


def test_a_stream_gives_what_encode_gives(fp32: M3Encoder) -> None:
    chunks = list(fp32.stream((text for text in TEXTS), chunk_size=7, **ALL))
    assert [len(chunk) for chunk in chunks] == [7] * (len(TEXTS) // 7) + [len(TEXTS) % 7]
    whole = fp32.encode(TEXTS, **ALL)
    places = [(chunk, row) for chunk in chunks for row in range(len(chunk))]
    assert max(distance(*place, whole, i) for i, place in enumerate(places)) <= TOLERANCE["fp32"]


def test_a_stream_reads_no_further_than_the_chunk_it_gives(fp32: M3Encoder) -> None:
    read: list[str] = []

    def source() -> Iterator[str]:
        for text in TEXTS:
            read.append(text)
            yield text

    stream = fp32.stream(source(), chunk_size=5)
    assert read == []
    for number in (1, 2):
        next(stream)
        assert len(read) == 5 * number


def test_a_stream_of_nothing_ends_at_once(fp32: M3Encoder) -> None:
    assert list(fp32.stream(iter([]))) == []


def test_an_error_in_a_stream_says_where_the_text_is(fp32: M3Encoder) -> None:
    stream = fp32.stream(iter(["a", "b", "c", "d", None]), chunk_size=3)
    next(stream)
    with pytest.raises(InputError, match=r"^after 3 texts: text 1 is a NoneType"):
        next(stream)


def test_a_failure_in_a_stream_says_where_it_came(bundle_fp32: Path) -> None:
    model = M3Encoder.with_engine(open_bundle(bundle_fp32), Spoiled(bundle_fp32, "dense", np.nan, (1, 0)))
    stream = model.stream(["short", LONG, "equal", "equal"], chunk_size=2)  # only the last two share a pass
    assert len(next(stream)) == 2
    with pytest.raises(EngineError, match=r"^after 2 texts: the dense output is not finite for text 1; "):
        next(stream)


@pytest.mark.parametrize(("texts", "size"), [("text", 4), (["text"], 0)])
def test_a_stream_of_one_str_or_of_empty_chunks_is_refused(fp32: M3Encoder, texts: Any, size: int) -> None:
    with pytest.raises(InputError, match=r"expected an iterable of str|chunk_size is 0, expected 1"):
        next(fp32.stream(texts, chunk_size=size))


# ---- outputs that are not finite


def test_weights_that_overflow_on_a_text_give_an_error_that_names_it(tmp_path: Path, fp32: M3Encoder) -> None:
    engine = load_engine(open_bundle(fp32.path), threads=1)

    def peak(text: str) -> float:
        ids = np.array([fp32.tokenize(text)])
        return float(engine.run(ids, np.ones_like(ids), Heads(sparse=True)).token_weights.max())

    loud, limit = max(sentences(), key=peak), max(map(peak, GOLDEN_TEXTS))
    scale = np.float32(np.finfo(np.float32).max / (peak(loud) + limit) * 2)  # only the loud text overflows
    checkpoint = write_checkpoint(tmp_path / "overflow")
    head = {name: array * scale for name, array in open_tensors(checkpoint / "sparse_linear.pt").items()}
    write_torch_file(checkpoint / "sparse_linear.pt", head)
    model = fresh(export(checkpoint, tmp_path / "bundle", precision="fp32").path)
    with pytest.raises(EngineError, match=r"^the sparse output is not finite for text 1; nothing returned$"):
        model.encode([*GOLDEN_TEXTS[:1], loud, *GOLDEN_TEXTS[1:]], return_sparse=True)
    assert np.isfinite(model.encode(loud, return_colbert_vecs=True).dense_vecs).all()


class Spoiled:
    """The bundle's engine with one value of one output replaced: an engine of a user's own may go wrong.

    `where` is the place in a pass, its text first; a pass without that text is left alone.
    """

    name, device, batch_tokens, pass_tokens, parallel_passes = "spoiled", "cpu", 512, 20, 1

    def __init__(self, bundle: Path, output: str, value: float, where: tuple[int, ...]) -> None:
        self._engine = load_engine(open_bundle(bundle), threads=1)
        self._spoil = (output, value, where)

    def run(self, input_ids: Any, attention_mask: Any, heads: Heads) -> Outputs:
        out = self._engine.run(input_ids, attention_mask, heads)
        output, value, where = self._spoil
        if len(input_ids) > where[0]:
            getattr(out, output)[where] = value
        return out


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("output", "where", "shown"), [
    ("dense", (1, 3), "dense"), ("token_weights", (1, 2), "sparse"), ("colbert", (1, 1, 3), "colbert"),
])  # fmt: skip
def test_a_value_that_is_not_finite_never_leaves(
    bundle_fp32: Path, output: str, where: tuple[int, ...], shown: str, value: float
) -> None:
    engine = Spoiled(bundle_fp32, output, value, where)
    model = M3Encoder.with_engine(open_bundle(bundle_fp32), engine)
    with pytest.raises(EngineError, match=f"^the {shown} output is not finite for text 1; nothing returned$"):
        model.encode(["one two three", "one two three"], **ALL)


@pytest.mark.parametrize(("output", "where"), [("token_weights", (1, -1)), ("colbert", (1, -1, 3))])
def test_what_an_engine_computes_for_padding_is_ignored(
    bundle_fp32: Path, fp32: M3Encoder, output: str, where: tuple[int, ...]
) -> None:
    model = M3Encoder.with_engine(open_bundle(bundle_fp32), Spoiled(bundle_fp32, output, np.nan, where))
    texts = ["one two three", "one"]
    assert_same_rows(model.encode(texts, **ALL), fp32.encode(texts, **ALL))


# ---- scores


PAIRS = [(TEXTS[i], TEXTS[-1 - i]) for i in range(12)] + [("", ""), ("ferry", "")]


def oracle(model: M3Encoder, query: str, passage: str, w: tuple[float, float, float] = (1, 1, 1)) -> dict[str, float]:
    """Compute the five scores from one text's outputs at a time, by FlagEmbedding's definitions."""
    q, p = model.encode(query, **ALL), model.encode(passage, **ALL)
    lexical = p.lexical_weights[0]
    d = sum(float(a) * float(b) for a, b in zip(q.dense_vecs[0], p.dense_vecs[0], strict=True))
    s = sum(weight * lexical.get(token, 0) for token, weight in q.lexical_weights[0].items())
    c = float(np.mean([max(float(a @ b) for b in p.colbert_vecs[0]) for a in q.colbert_vecs[0]]))
    return {
        "colbert": c,
        "sparse": s,
        "dense": d,
        "sparse+dense": (w[1] * s + w[0] * d) / (w[1] + w[0]),
        "colbert+sparse+dense": (w[2] * c + w[1] * s + w[0] * d) / sum(w),
    }


@pytest.mark.parametrize("weights", [None, (0.4, 0.2, 0.4), (1, 0, 3)])
def test_compute_score_gives_the_five_scores(fp32: M3Encoder, weights: Any) -> None:
    scores = fp32.compute_score(PAIRS, weights_for_different_modes=weights)
    expected = [oracle(fp32, *pair, weights or (1, 1, 1)) for pair in PAIRS]
    assert list(scores) == ["colbert", "sparse", "dense", "sparse+dense", "colbert+sparse+dense"]
    for mode, values in scores.items():
        assert values == pytest.approx([e[mode] for e in expected], rel=1e-5, abs=1e-5)


def test_one_pair_gives_floats_and_no_pair_empty_lists(fp32: M3Encoder) -> None:
    single = fp32.compute_score(PAIRS[0])
    assert single == pytest.approx(oracle(fp32, *PAIRS[0]), rel=1e-5, abs=1e-5)
    assert all(type(score) is float for score in single.values())
    assert set(map(tuple, fp32.compute_score([]).values())) == {()}


def test_scores_respect_the_lengths_asked_for(fp32: M3Encoder) -> None:
    tokens = fp32.tokenize(LONG)
    short = fp32.compute_score((LONG, LONG), max_query_length=len(tokens) // 4, max_passage_length=8)
    q = fp32.encode(LONG, max_length=len(tokens) // 4)
    p = fp32.encode(LONG, max_length=8)
    assert short["dense"] == pytest.approx(float(q.dense_vecs[0] @ p.dense_vecs[0]), abs=1e-5)


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 1, 1], [0, 0, 1], [1, 1, -1], [1, 1, np.nan], [np.inf, 1, 1]])
def test_weights_that_give_no_score_are_refused(fp32: M3Encoder, weights: list[float]) -> None:
    with pytest.raises(InputError, match="weights_for_different_modes is"):
        fp32.compute_score(PAIRS[:2], weights_for_different_modes=weights)


@pytest.mark.parametrize("pairs", [[("a", "b"), ("a",)], [("a", "b"), "ab"], [("a", "b"), 7], [("a", "b"), None]])
def test_what_is_no_pair_is_refused_by_index(fp32: M3Encoder, pairs: Any) -> None:
    with pytest.raises(InputError, match=r"^pair 1 is .*, expected \(query, passage\)$"):
        fp32.compute_score(pairs)


# ---- tokens and names


def test_ids_become_the_text_of_their_tokens(fp32: M3Encoder) -> None:
    row = fp32.encode("The ferry leaves", return_sparse=True).lexical_weights[0]
    tokenizer = xlm_roberta_tokenizer()
    expected = {tokenizer.id_to_token(i).removeprefix("▁"): weight for i, weight in row.items()}
    assert fp32.convert_id_to_token(row) == expected
    assert fp32.convert_id_to_token({str(i): w for i, w in row.items()}) == expected
    assert fp32.convert_id_to_token([row, {}]) == [expected, {}]
    assert fp32.convert_id_to_token({tokenizer.token_to_id("<mask>"): 1.0}) == {"<mask>": 1.0}


def test_repr_says_what_runs_where(fp32: M3Encoder, bundle_fp32: Path) -> None:
    assert re.fullmatch(
        rf"M3Encoder\('{bundle_fp32}': tiny-m3, m3, fp32, dim 32, max_tokens 128, onnxruntime on cpu\)", repr(fp32)
    )


def test_progress_counts_every_token_on_stderr(fp32: M3Encoder, capfd: pytest.CaptureFixture[str]) -> None:
    total = int(fp32.encode(TEXTS).n_tokens.sum())
    assert capfd.readouterr() == ("", "")
    fp32.encode(TEXTS, show_progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.rstrip().split("\r")[-1].startswith("encode: 100%")
    assert f"{total / 1000:.2f}k/{total / 1000:.2f}k" in err


def add_to_json(path: Path, **values: Any) -> None:
    import json

    write_json(path, json.loads(path.read_text("utf-8")) | values)


class Parallel:
    """The bundle's engine, which asks for three passes at a time."""

    name, device, threads, batch_tokens, pass_tokens, parallel_passes = "parallel", "cpu", 1, 16, 0, 3

    def __init__(self, bundle: Path) -> None:
        self.run = load_engine(open_bundle(bundle), threads=1).run


def test_passes_side_by_side_give_the_same_in_the_same_order(bundle_fp32: Path, fp32: M3Encoder) -> None:
    model = M3Encoder.with_engine(open_bundle(bundle_fp32), Parallel(bundle_fp32))
    texts = GOLDEN_TEXTS * 3
    assert_same_rows(model.encode(texts, **ALL), fp32.encode(texts, **ALL))
    parts = list(model.stream(texts, chunk_size=5))
    assert [len(part.truncated) for part in parts] == [min(5, len(texts) - i) for i in range(0, len(texts), 5)]
    whole = np.concatenate([part.dense_vecs for part in parts])
    np.testing.assert_allclose(whole, fp32.encode(texts).dense_vecs, atol=1e-5)
    with pytest.raises(InputError, match=r"^after 5 texts: text 1 is an int"):
        list(model.stream([*texts[:6], 7, *texts], chunk_size=5))
