"""m3rt agrees with FlagEmbedding 1.4.2 and transformers, which run here: `pytest -m parity`."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences, write_checkpoint, xlm_roberta_tokenizer
from m3rt_export import export
from signatures import SIGNATURES, signature

from m3rt import M3Encoder
from m3rt.compat import BGEM3FlagModel

# These packages warn about each other when they are imported.
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

ALL = {"return_dense": True, "return_sparse": True, "return_colbert_vecs": True}
KEYS = ["dense_vecs", "lexical_weights", "colbert_vecs"]
LONG = " ".join(sentences())
ODD = ["", " ", "\n\n", "a", "a  b\tc\nd", "x\0y", "🚀👍🏽", "e\u0301 ﬁ Ａ", "語" * 30, "<s>", "</s>", "<mask> it",
       "typed <pad> <s> and </s> <unk>", "<pad>", "<pad><pad> pads first", "many " * 200, LONG]  # fmt: skip
LENGTHS = [LONG[:cut] for cut in range(0, 520, 4)]
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def flag(checkpoint: Path) -> Any:
    from FlagEmbedding import BGEM3FlagModel

    return BGEM3FlagModel(str(checkpoint), use_fp16=False, devices="cpu")


@pytest.fixture(scope="module")
def compat(bundle_fp32: Path) -> BGEM3FlagModel:
    return BGEM3FlagModel(bundle_fp32, use_fp16=False, devices="cpu", threads=1)


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    """Return the largest absolute difference of each view; ids and shapes must be the same."""
    assert [len(row) for row in ours["colbert_vecs"]] == [len(row) for row in theirs["colbert_vecs"]]
    pairs = list(zip(ours["lexical_weights"], theirs["lexical_weights"], strict=True))
    assert all(a.keys() == b.keys() for a, b in pairs)
    both = list(zip(ours["colbert_vecs"], theirs["colbert_vecs"], strict=True))
    return {
        "dense": float(np.abs(ours["dense_vecs"] - theirs["dense_vecs"]).max()),
        "sparse": max(float(abs(a[i] - b[i])) for a, b in pairs for i in a),
        "colbert": max(float(np.abs(a - b).max()) for a, b in both),
    }


# ---- the three views


@pytest.mark.parametrize("texts", [LENGTHS, ODD, [*ODD, *sentences()]], ids=["lengths", "odd", "mixed"])
@pytest.mark.parametrize("max_length", [5, 32, 128])
def test_all_three_views_are_flagembeddings(
    flag: Any, compat: BGEM3FlagModel, texts: list[str], max_length: int
) -> None:
    theirs = flag.encode(texts, batch_size=16, max_length=max_length, **ALL)
    gaps = differences(compat.encode(texts, max_length=max_length, **ALL), theirs)
    print(max_length, len(texts), gaps)
    assert max(gaps.values()) <= TOLERANCE


def test_token_ids_are_those_of_transformers(flag: Any, fp32: M3Encoder) -> None:
    for text in [*ODD, *LENGTHS]:
        expected = flag.tokenizer(text, truncation=True, max_length=128)["input_ids"]
        assert fp32.tokenize(text) == expected


def test_int8_points_the_way_of_flagembedding(flag: Any, int8: M3Encoder, bundle_fp32: Path) -> None:
    texts = [*ODD, *sentences()]
    theirs, ours = flag.encode(texts, max_length=128, **ALL), int8.encode(texts, **ALL)
    dense = (ours.dense_vecs * theirs["dense_vecs"]).sum(axis=1)
    colbert = (ours.multi.vectors * np.concatenate(theirs["colbert_vecs"])).sum(axis=1)
    print(f"dense {dense.mean():.5f} {dense.min():.5f}, colbert {colbert.mean():.5f} {colbert.min():.5f}")
    # 32 channels average far less than the 1024 of a real model, whose means are above .999.
    assert dense.mean() > 0.998
    assert dense.min() > 0.99
    assert colbert.mean() > 0.998


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("kind", ["bert", "dense"])
def test_dense_models_are_those_of_transformers(tmp_path: Path, kind: str, pooling: str) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind=kind, pooling=pooling)
    texts = [*ODD, *LENGTHS[::5], *sentences()]
    inputs = AutoTokenizer.from_pretrained(checkpoint)(
        texts, padding=True, truncation=True, max_length=128, return_tensors="pt"
    )
    with torch.no_grad():
        states = AutoModel.from_pretrained(checkpoint).eval()(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    pooled = states[:, 0] if pooling == "cls" else (states * mask).sum(1) / mask.sum(1)
    expected = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    bundle = export(checkpoint, tmp_path / "bundle", precision="fp32", dense_only=True)
    model = M3Encoder(bundle.path, threads=1)
    assert model.encode(texts, max_length=128).n_tokens.tolist() == inputs["attention_mask"].sum(1).tolist()
    gap = np.abs(model.encode(texts, max_length=128).dense_vecs - expected).max()
    print(kind, pooling, gap)
    assert gap <= TOLERANCE


# ---- the drop-in class


@pytest.mark.parametrize("method", SIGNATURES)
def test_signatures_are_flagembeddings(flag: Any, method: str) -> None:
    assert signature(getattr(type(flag), method)) == SIGNATURES[method]


def test_an_instruction_of_encode_counts_as_in_flagembedding(flag: Any, compat: BGEM3FlagModel) -> None:
    options = {"instruction": "Find:", "instruction_format": "{}\\n{}", "max_length": 64, **ALL}
    texts = sentences()[:9]
    assert max(differences(compat.encode(texts, **options), flag.encode(texts, **options)).values()) <= TOLERANCE


def test_the_tokenizer_answers_as_transformers_does(flag: Any, compat: BGEM3FlagModel) -> None:
    ours, theirs = compat.tokenizer, flag.tokenizer
    for text in [*ODD, *LENGTHS[::9]]:
        for options in ({}, {"truncation": True, "max_length": 9}, {"add_special_tokens": False}):
            assert ours(text, **options) == dict(theirs(text, **options))
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text))
        assert ours.tokenize(text) == theirs.tokenize(text)
    assert ours(ODD, padding=True) == dict(theirs(ODD, padding=True))
    assert ours.get_vocab() == theirs.get_vocab()


def types(value: Any) -> Any:
    """Return a value's types, shapes and keys without its numbers; any dict counts as a dict."""
    if isinstance(value, dict):
        return {key: types(item) for key, item in value.items()}
    if isinstance(value, list):
        return [types(item) for item in value]
    return (type(value), getattr(value, "shape", None), getattr(value, "dtype", None))


@pytest.mark.parametrize("texts", [[*ODD, *sentences()[:9]], "ferry harbour", ""], ids=["list", "str", "empty"])
@pytest.mark.parametrize("heads", [ALL, {}, {"return_dense": False, "return_sparse": True}], ids=str)
@pytest.mark.parametrize("method", ["encode", "encode_queries", "encode_corpus"])
def test_the_drop_in_returns_the_same_types(
    flag: Any, compat: BGEM3FlagModel, method: str, heads: dict[str, bool], texts: Any
) -> None:
    theirs = getattr(flag, method)(texts, max_length=128, **heads)
    assert types(getattr(compat, method)(texts, max_length=128, **heads)) == types(theirs)


@pytest.mark.parametrize("form", ["{}{}", "{}\\n{}"])
def test_instructions_stand_where_flagembedding_puts_them(checkpoint: Path, bundle_fp32: Path, form: str) -> None:
    from FlagEmbedding import BGEM3FlagModel as Original

    options = {"query_instruction_for_retrieval": "Find:", "query_instruction_format": form,
               "query_max_length": 12, "passage_max_length": 20, "devices": "cpu"}  # fmt: skip
    theirs, ours = Original(str(checkpoint), use_fp16=False, **options), BGEM3FlagModel(bundle_fp32, **options)
    texts = sentences()[:20]
    for method in ("encode_queries", "encode_corpus", "encode"):
        gaps = differences(getattr(ours, method)(texts, **ALL), getattr(theirs, method)(texts, **ALL))
        assert max(gaps.values()) <= TOLERANCE


def test_truncate_dim_cuts_as_flagembedding_does(checkpoint: Path, bundle_fp32: Path) -> None:
    from FlagEmbedding import BGEM3FlagModel as Original

    theirs = Original(str(checkpoint), use_fp16=False, devices="cpu", truncate_dim=8, passage_max_length=128)
    ours = BGEM3FlagModel(bundle_fp32, truncate_dim=8)
    texts = [*ODD, *sentences()]
    assert max(differences(ours.encode(texts, **ALL), theirs.encode(texts, **ALL)).values()) <= TOLERANCE


PAIRS = [*pairwise(sentences()[:30]), *pairwise(ODD), (LONG, sentences()[0])]
LIMITS = {"max_query_length": 64, "max_passage_length": 128}


@pytest.mark.parametrize("weights", [None, [0.4, 0.2, 0.4], [1, 0, 2]])
def test_scores_are_flagembeddings(flag: Any, compat: BGEM3FlagModel, weights: Any) -> None:
    # One pair at a time: in a batch FlagEmbedding lets a passage's padding, a zero, beat negative similarities.
    theirs = flag.compute_score(PAIRS, batch_size=1, weights_for_different_modes=weights, **LIMITS)
    ours = compat.compute_score(PAIRS, weights_for_different_modes=weights, **LIMITS)
    assert types(ours) == types(theirs)
    largest = max(np.abs(np.array(ours[mode]) - theirs[mode]).max() / np.abs(theirs[mode]).max() for mode in theirs)
    print(weights, largest)
    assert largest <= TOLERANCE


def test_one_pair_and_no_pair_look_like_flagembeddings(flag: Any, compat: BGEM3FlagModel) -> None:
    ours, theirs = compat.compute_score(PAIRS[0], **LIMITS), flag.compute_score(PAIRS[0], **LIMITS)
    assert types(ours) == types(theirs)
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert compat.compute_score([], **LIMITS) == flag.compute_score([], **LIMITS)


def test_every_id_becomes_the_same_token(flag: Any, compat: BGEM3FlagModel) -> None:
    for token in range(xlm_roberta_tokenizer().get_vocab_size()):
        assert compat.convert_id_to_token({str(token): 1.0}) == flag.convert_id_to_token({str(token): 1.0}), token
    rows = compat.encode(sentences()[:5], **ALL)["lexical_weights"]
    for given in (rows, rows[:1], rows[0], []):
        assert compat.convert_id_to_token(given) == flag.convert_id_to_token(given)


def test_scores_of_given_vectors_and_weights_are_the_same(flag: Any, compat: BGEM3FlagModel) -> None:
    out = flag.encode(sentences()[:6], max_length=128, **ALL)
    rows, vectors = out["lexical_weights"], out["colbert_vecs"]
    for one, other in ((rows[0], rows[1]), (rows[:2], rows)):
        theirs = flag.compute_lexical_matching_score(one, other)
        np.testing.assert_allclose(compat.compute_lexical_matching_score(one, other), theirs, rtol=1e-5)
    for q, p in pairwise(vectors):
        assert compat.colbert_score(q, p) == pytest.approx(float(flag.colbert_score(q, p)), abs=1e-6)
