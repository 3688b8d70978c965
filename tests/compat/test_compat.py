"""BGEM3FlagModel: FlagEmbedding's calls and the types that it returns, over M3Encoder's numbers."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences
from signatures import SIGNATURES, signature

from m3rt import DeviceMissing, InputError, M3Encoder
from m3rt.compat import BGEM3FlagModel

TEXTS = [*sentences()[::8], "", " ".join(sentences())]
ALL = {"return_dense": True, "return_sparse": True, "return_colbert_vecs": True}
KEYS = ["dense_vecs", "lexical_weights", "colbert_vecs"]


@pytest.fixture(scope="module")
def model(bundle_fp32: Path) -> BGEM3FlagModel:
    return BGEM3FlagModel(bundle_fp32, use_fp16=False, devices="cpu", threads=1)


def assert_same(ours: dict[str, Any], out: Any) -> None:
    """Check that `ours`, of a list of texts, is `out` in FlagEmbedding's types."""
    assert list(ours) == KEYS
    np.testing.assert_allclose(ours["dense_vecs"], out.dense_vecs, atol=2e-6)
    named = [{str(token): weight for token, weight in row.items()} for row in out.lexical_weights]
    assert ours["lexical_weights"] == [pytest.approx(row, rel=1e-5) for row in named]
    for one, other in zip(ours["colbert_vecs"], out.colbert_vecs, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


@pytest.mark.parametrize("method", ["encode", "encode_queries", "encode_corpus"])
def test_a_list_of_texts_gives_a_dictionary_of_columns(model: BGEM3FlagModel, fp32: M3Encoder, method: str) -> None:
    ours = getattr(model, method)(TEXTS, batch_size=3, max_length=100, **ALL)
    assert_same(ours, fp32.encode(TEXTS, max_length=100, **ALL))
    weights = [weight for row in ours["lexical_weights"] for weight in row.values()]
    assert {type(weight) for weight in weights} == {np.float32}
    assert all(isinstance(vectors, np.ndarray) for vectors in ours["colbert_vecs"])


@pytest.mark.parametrize("method", ["encode", "encode_queries", "encode_corpus"])
def test_a_single_text_is_unwrapped(model: BGEM3FlagModel, fp32: M3Encoder, method: str) -> None:
    ours = getattr(model, method)("ferry harbour", **ALL)
    assert ours["dense_vecs"].shape == (32,)
    assert isinstance(ours["lexical_weights"], dict)
    assert ours["colbert_vecs"].ndim == 2
    assert_same({key: [value] for key, value in ours.items()}, fp32.encode("ferry harbour", **ALL))


def test_only_dense_is_returned_unless_asked(model: BGEM3FlagModel, bundle_fp32: Path) -> None:
    dense, sparse = model.encode(TEXTS), model.encode("x", return_dense=False, return_sparse=True)
    assert [dense[key] is None for key in KEYS] == [False, True, True]
    assert [sparse[key] is None for key in KEYS] == [True, False, True]
    eager = BGEM3FlagModel(bundle_fp32, threads=1, **ALL)
    assert all(value is not None for value in eager.encode_queries(["x"]).values())


def test_lengths_default_by_role_and_stop_at_the_models_limit(bundle_fp32: Path, fp32: M3Encoder) -> None:
    model = BGEM3FlagModel(bundle_fp32, query_max_length=5, passage_max_length=9, threads=1)
    text = TEXTS[-1]
    for method, length in (("encode_queries", 5), ("encode_corpus", 9), ("encode", 9)):
        expected = fp32.encode(text, max_length=length).dense_vecs[0]
        np.testing.assert_allclose(getattr(model, method)(text)["dense_vecs"], expected, atol=2e-6)
    longest = model.encode(text, max_length=8192)["dense_vecs"]
    np.testing.assert_allclose(longest, fp32.encode(text).dense_vecs[0], atol=2e-6)


@pytest.mark.parametrize("form", ["{}{}", "<{}> {}", "{}\\n{}"])
def test_an_instruction_stands_before_queries_only(bundle_fp32: Path, fp32: M3Encoder, form: str) -> None:
    model = BGEM3FlagModel(
        bundle_fp32, query_instruction_for_retrieval="Find: ", query_instruction_format=form, threads=1
    )
    expected = fp32.encode(form.replace("\\n", "\n").format("Find: ", "ferry")).dense_vecs
    np.testing.assert_allclose(model.encode_queries("ferry")["dense_vecs"], expected[0], atol=2e-6)
    np.testing.assert_allclose(model.encode_queries(["ferry"])["dense_vecs"], expected, atol=2e-6)
    plain = fp32.encode("ferry").dense_vecs[0]
    for method in (model.encode_corpus, model.encode):
        np.testing.assert_allclose(method("ferry")["dense_vecs"], plain, atol=2e-6)


def test_truncate_dim_cuts_dense_and_colbert_vectors(bundle_fp32: Path) -> None:
    model = BGEM3FlagModel(bundle_fp32, truncate_dim=8, threads=1)
    with pytest.warns(UserWarning, match="truncate_dim=8"):
        out = model.encode(TEXTS, **ALL)
    assert out["dense_vecs"].shape == (len(TEXTS), 8)
    assert {vectors.shape[1] for vectors in out["colbert_vecs"]} == {8}


def test_scores_are_those_of_the_encoder(model: BGEM3FlagModel, fp32: M3Encoder) -> None:
    pairs = list(pairwise(TEXTS))
    options = {"max_passage_length": 20, "weights_for_different_modes": [0.4, 0.2, 0.4]}
    ours, theirs = model.compute_score(pairs, batch_size=2, **options), fp32.compute_score(pairs, **options)
    assert ours == {mode: pytest.approx(scores, abs=1e-5) for mode, scores in theirs.items()}
    assert all(type(score) is float for score in model.compute_score(pairs[0]).values())
    assert model.compute_score([]) == []


def test_one_row_of_named_tokens_is_unwrapped(model: BGEM3FlagModel) -> None:
    rows = model.encode(["ferry harbour", "bread"], return_sparse=True)["lexical_weights"]
    first, second = model.convert_id_to_token(rows)
    assert model.convert_id_to_token(rows[0]) == model.convert_id_to_token(rows[:1]) == first
    assert first != second
    assert set(first.values()) == set(rows[0].values())


def test_lexical_scores_come_as_a_number_or_a_matrix(model: BGEM3FlagModel) -> None:
    one, two = {"5": 2.0, "7": 1.0}, {"7": 3.0, "8": 1.0}
    assert model.compute_lexical_matching_score(one, two) == 3.0
    matrix = model.compute_lexical_matching_score([one, two], [one, two, {}])
    assert matrix.tolist() == [[5, 3, 0], [3, 10, 0]]
    with pytest.raises(InputError, match="two mappings or two lists"):
        model.compute_lexical_matching_score(one, [two])


def test_colbert_score_is_the_mean_of_the_best_matches(model: BGEM3FlagModel) -> None:
    query, passage = np.eye(3, dtype=np.float32)[:2], np.array([[1, 0, 0], [0, 0.5, 0]], np.float32)
    score = model.colbert_score(query, passage)
    assert (score, type(score)) == (0.75, np.float32)


# ---- FlagEmbedding's signatures


@pytest.mark.parametrize("method", SIGNATURES)
def test_a_method_has_flagembeddings_signature(method: str) -> None:
    assert signature(getattr(BGEM3FlagModel, method)) == SIGNATURES[method]


def test_what_can_have_no_effect_is_accepted(bundle_fp32: Path, model: BGEM3FlagModel) -> None:
    other = BGEM3FlagModel(
        str(bundle_fp32), True, True, True, None, "{}{}", ["cpu", "cpu"], "cls", True, "/nowhere", 32, 7, 512, 512,
        convert_to_numpy=False, device=None, threads=1,
    )  # fmt: skip
    np.testing.assert_array_equal(
        other.encode("ferry", 2, convert_to_numpy=False)["dense_vecs"], model.encode("ferry")["dense_vecs"]
    )
    assert (other.target_devices, other.pooling_method, other.pool) == (["cpu"], "cls", None)
    other.stop_self_pool()
    pool = other.start_multi_process_pool(None)
    np.testing.assert_array_equal(
        other.encode_multi_process(["ferry"], pool, batch_size=2)["dense_vecs"], model.encode(["ferry"])["dense_vecs"]
    )
    assert other.compute_score_multi_process([("a", "b")], pool) == model.compute_score([("a", "b")])
    other.stop_multi_process_pool(pool)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling_method": "mean"}, "pooling_method is 'mean', expected one of cls"),
        ({"colbert_dim": 16}, "colbert_dim is 16, but the bundle's is 32"),
        ({"query_instruction": "x"}, "takes no keyword 'query_instruction'; did you mean query_instruction_format"),
        ({"useless": "x"}, "takes no keyword 'useless'"),
        ({"device": "cuda:x"}, "devices is 'cuda:x', expected one of 'cpu', 'cuda'"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(bundle_fp32: Path, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BGEM3FlagModel(bundle_fp32, **options)


@pytest.mark.parametrize(
    ("method", "keyword", "near"),
    [
        ("encode", "max_lenght", "max_length"),
        ("encode", "return_colbert", "return_colbert_vecs"),
        ("encode_queries", "batchsize", "batch_size"),
        ("encode_corpus", "add_special_tokens", "leave it out"),
        ("encode_single_device", "instruction", "leave it out"),
        ("compute_score", "weights_for_different_mode", "weights_for_different_modes"),
    ],
)
def test_a_misspelt_keyword_is_refused_with_the_one_that_was_meant(
    model: BGEM3FlagModel, method: str, keyword: str, near: str
) -> None:
    with pytest.raises(InputError, match=f"^{method} takes no keyword '{keyword}'; .*{near}"):
        getattr(model, method)(["a"], **{keyword: 5})
    with pytest.raises(InputError, match="process_target_func is <function"):
        model.start_multi_process_pool(signature)


def test_an_instruction_of_encode_changes_its_vectors(model: BGEM3FlagModel, fp32: M3Encoder) -> None:
    for texts in ("ferry", ["ferry", "bread"], iter(["ferry"])):
        expected = fp32.encode("Find: ferry").dense_vecs
        vectors = model.encode(texts, instruction="Find: ", instruction_format="{}{}")["dense_vecs"]  # type: ignore[arg-type]
        np.testing.assert_allclose(vectors.reshape(-1, 32)[:1], expected, atol=2e-6)
    shown = model.encode("ferry", instruction="Find: ", instruction_format="{1} <{0}>")["dense_vecs"]
    np.testing.assert_allclose(shown, fp32.encode("ferry <Find: >").dense_vecs[0], atol=2e-6)


def test_an_instruction_of_passages_stands_before_the_corpus_only(bundle_fp32: Path, fp32: M3Encoder) -> None:
    options = {"passage_instruction_for_retrieval": "Say:", "passage_instruction_format": "{}\\n{}"}
    model = BGEM3FlagModel(bundle_fp32, threads=1, **options)
    np.testing.assert_allclose(
        model.encode_corpus("ferry")["dense_vecs"], fp32.encode("Say:\nferry").dense_vecs[0], atol=2e-6
    )
    for method in (model.encode, model.encode_queries):
        np.testing.assert_allclose(method("ferry")["dense_vecs"], fp32.encode("ferry").dense_vecs[0], atol=2e-6)


@pytest.mark.parametrize(
    "form",
    ["{}", "no place", "{0}", "{}{}{}", "{0}{}", "{2}", "{name}", "{0.__class__}{1}", "{0[0]}{1}", "{!r}{}", "{:>9}{}",
     "{1:>999999999999}", "{", "}", "{{}}", 7, None],
)  # fmt: skip
def test_a_format_is_no_code_and_has_a_place_for_the_text(bundle_fp32: Path, form: Any) -> None:
    model = BGEM3FlagModel(bundle_fp32, True, False, False, "Find", form, threads=1)
    with pytest.raises(InputError, match=r"the instruction format is .*, expected a str with \{\}"):
        model.encode_queries("ferry")
    with pytest.raises(InputError, match="the instruction format is"):
        BGEM3FlagModel.get_detailed_instruct(form, "Find", "ferry")


@pytest.mark.parametrize("form", ["{}{}", "{0}: {1}", "{1} {0} {1}", "{{}} {} {}", "{1}", "<{}>\\n<{}>"])
def test_a_format_gives_what_str_format_gives(form: str) -> None:
    expected = form.replace("\\n", "\n").format("Find {}", "{0} ferry")
    assert BGEM3FlagModel.get_detailed_instruct(form, "Find {}", "{0} ferry") == expected


def test_attributes_set_later_count_as_in_flagembedding(bundle_fp32: Path, fp32: M3Encoder) -> None:
    model = BGEM3FlagModel(bundle_fp32, threads=1)
    model.query_max_length, model.return_sparse, model.query_instruction_for_retrieval = 5, True, "Find "
    out = model.encode_queries(TEXTS[-1])
    np.testing.assert_allclose(
        out["dense_vecs"], fp32.encode(f"Find {TEXTS[-1]}", max_length=5).dense_vecs[0], atol=2e-6
    )
    assert out["lexical_weights"]["no token"] == 0


def test_one_device_encodes_without_the_instruction(bundle_fp32: Path, fp32: M3Encoder) -> None:
    model = BGEM3FlagModel(bundle_fp32, query_instruction_for_retrieval="Find ", passage_max_length=5, threads=1)
    out = model.encode_single_device(TEXTS, device="cpu")["dense_vecs"]
    np.testing.assert_allclose(out, fp32.encode(TEXTS).dense_vecs, atol=2e-6)
    with pytest.raises(InputError, match="device is 'cuda:0', but the model is on cpu"):
        model.encode_single_device(TEXTS, device="cuda:0")


def test_the_tokenizer_gives_the_ids_that_the_model_is_fed(model: BGEM3FlagModel, fp32: M3Encoder) -> None:
    tokenizer = model.tokenizer
    texts = TEXTS[:4]
    assert tokenizer(texts, truncation=True, max_length=7)["input_ids"] == [
        fp32.tokenize(t, max_length=7) for t in texts
    ]
    padded = tokenizer(texts, padding=True)
    assert {len(row) for row in padded["input_ids"]} == {max(map(sum, padded["attention_mask"]))}
    assert tokenizer.encode(texts[0]) == tokenizer(texts[0])["input_ids"] == fp32.tokenize(texts[0])
    inner = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(texts[0]))
    assert [tokenizer.bos_token_id, *inner, tokenizer.eos_token_id] == fp32.tokenize(texts[0])
    assert tokenizer.decode(np.array(inner)) == texts[0]
    assert tokenizer.convert_tokens_to_ids("no such token") == tokenizer.unk_token_id
    assert len(tokenizer) == tokenizer.vocab_size == len(tokenizer.get_vocab())


@pytest.mark.parametrize("devices", ["cpu", ["cpu"], ("cpu", "cpu"), np.array(["cpu"])])
def test_the_cpu_is_named_in_any_way(bundle_fp32: Path, devices: Any) -> None:
    assert BGEM3FlagModel(bundle_fp32, devices=devices, threads=1).target_devices == ["cpu"]


@pytest.mark.parametrize("devices", ["tpu", "cuda:", ["cpu", "cuda:0"], [0, 1], []])
def test_devices_it_cannot_serve_are_refused(bundle_fp32: Path, devices: Any) -> None:
    with pytest.raises(InputError, match=r"devices is .*, expected one of 'cpu', 'cuda'"):
        BGEM3FlagModel(bundle_fp32, devices=devices)


@pytest.mark.parametrize("devices", ["cuda", ["cuda:0"], "cuda:1", 0, 1, [0], np.int64(0)])
def test_cuda_is_asked_of_the_engine(bundle_int8: Path, devices: Any) -> None:
    with pytest.raises(DeviceMissing):
        BGEM3FlagModel(bundle_int8, devices=devices)


def test_vectors_that_are_not_normalised_are_refused(bundle_fp32: Path) -> None:
    with pytest.raises(InputError, match="normalize_embeddings"):
        BGEM3FlagModel(bundle_fp32, normalize_embeddings=False)
