"""M3Reranker: one text's score never depends on the others, whatever is cut is told, bad input is one line."""

import copy
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences, write_checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_export import export
from numpy.typing import NDArray
from odd_values import odd_values

from m3rt import EngineError, InputError, M3Encoder, M3Reranker, M3rtError
from m3rt.bundle import open_bundle
from m3rt.engines import Heads, Outputs, load_engine

TEXTS = [*sentences()[:20], "", "a", " ".join(sentences()[:4])]
QUERY, PASSAGES = TEXTS[0], TEXTS[1:12]
TOLERANCE = 1e-5  # float32, other batch-mates: sums in another order
COPIES: list[Callable[[Any], Any]] = [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy, copy.copy]  # noqa: S301


# ---- what scores depend on


@settings(max_examples=15)
@given(pairs=st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from(TEXTS)), min_size=1, max_size=9))
def test_a_pairs_score_in_a_batch_is_its_score_alone(either: M3Reranker, pairs: list[tuple[str, str]]) -> None:
    together = either.compute_score(pairs)
    alone = [either.compute_score(pair) for pair in pairs]
    np.testing.assert_allclose(together.values, [score[0] for score in alone], atol=TOLERANCE)
    assert together.n_tokens.tolist() == [score.n_tokens[0] for score in alone]
    assert together.truncated.tolist() == [score.truncated[0] for score in alone]


@pytest.mark.parametrize("batch_tokens", [1, 50, 10_000])
def test_the_token_budget_changes_no_score(bundles: dict[str, Path], reranker: M3Reranker, batch_tokens: int) -> None:
    pairs = [(q, p) for q in TEXTS[:5] for p in TEXTS]
    other = M3Reranker(bundles["reranker"], engine="onnxruntime", threads=1, batch_tokens=batch_tokens)
    found, expected = other.compute_score(pairs), reranker.compute_score(pairs)
    np.testing.assert_allclose(found.values, expected.values, atol=TOLERANCE)


def test_bert_is_told_which_text_is_the_second(rerankers: dict[str, Path], tmp_path: Path) -> None:
    """A [SEP] in the query does not begin the passage: only an input of its own can say where it does."""
    model = M3Reranker(export(rerankers["bert-reranker"], tmp_path / "bundle", precision="fp32").path, threads=1)
    (ids,) = model._pairs.encode([("a [SEP] b", "c")], 128, 96).padded(np.array([0]), 0)[2:]
    assert ids.tolist() == [[0, 0, 0, 0, 0, 1, 1]]
    assert [port.name for port in model.manifest.graph.inputs] == ["input_ids", "attention_mask", "token_type_ids"]


def test_scores_are_a_sequence_of_floats_and_an_array(reranker: M3Reranker) -> None:
    scores = reranker.compute_score([(QUERY, p) for p in PASSAGES])
    assert list(scores) == scores[:] == scores.values.tolist()
    assert isinstance(scores[0], float)
    assert sorted(scores) == np.sort(scores).tolist()
    assert len(reranker.compute_score((QUERY, PASSAGES[0]))) == 1
    assert list(reranker.compute_score([])) == []
    assert reranker.logits([]).shape == (0, 1)


def test_normalize_is_the_sigmoid_of_the_logit(reranker: M3Reranker) -> None:
    pairs = [(QUERY, p) for p in PASSAGES]
    logits, shares = (reranker.compute_score(pairs, normalize=n).values for n in (False, True))
    np.testing.assert_allclose(shares, 1 / (1 + np.exp(-logits)), rtol=1e-12)


# ---- what is cut


def test_what_was_cut_is_told(reranker: M3Reranker) -> None:
    long = " ".join(sentences()[:8])
    scores = reranker.compute_score([("a", "b"), ("a", long), (long, "b")], max_length=32)
    assert scores.truncated.tolist() == [False, True, True]
    assert scores.n_tokens.tolist()[1:] == [32, 29]
    assert [r.truncated for r in reranker.rank("a", [long, "b"], max_length=32)] in ([True, False], [False, True])


def test_a_pair_that_outgrows_the_positions_is_refused(reranker: M3Reranker) -> None:
    long = " ".join(sentences())
    assert reranker.compute_score([(long, long)]).n_tokens.tolist() == [reranker.manifest.max_tokens]
    with pytest.raises(InputError, match=r"^pair 1 has 256 tokens, 125 of them .* at most 128; .* query_max_length"):
        reranker.compute_score([("a", "b"), (long, long)], max_length=127, query_max_length=125)


def test_a_query_is_tokenized_once_for_all_its_passages(reranker: M3Reranker, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    encode = type(reranker.tokenizer).encode
    monkeypatch.setattr(
        type(reranker.tokenizer), "encode", lambda self, texts, n: (seen.append(len(texts)), encode(self, texts, n))[1]
    )
    reranker.rank(QUERY, PASSAGES)
    assert seen == [1, len(PASSAGES)]


# ---- rank


def test_rank_gives_the_best_first_and_equal_ones_in_their_order(reranker: M3Reranker) -> None:
    passages = [*PASSAGES, PASSAGES[3], PASSAGES[3]]
    scores = reranker.compute_score([(QUERY, p) for p in passages])
    ranked = reranker.rank(QUERY, passages)
    assert [r.index for r in ranked] == sorted(range(len(passages)), key=lambda i: (-scores[i], i))
    assert [r.score for r in ranked] == [scores[r.index] for r in ranked]
    assert reranker.rank(QUERY, passages, 3) == ranked[:3]
    assert reranker.rank(QUERY, passages, 99) == ranked
    assert reranker.rank(QUERY, []) == []


# ---- processes and threads


@pytest.mark.parametrize("again", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_a_reranker_opens_again_with_its_arguments(again: Any, bundles: dict[str, Path]) -> None:
    model = M3Reranker(bundles["reranker"], engine="openvino", threads=1, batch_tokens=77)
    other = again(model)
    assert repr(other) == repr(model)
    assert other.batch_tokens == 77
    assert list(other.compute_score((QUERY, "b"))) == list(model.compute_score((QUERY, "b")))


def scored(model: M3Reranker) -> list[float]:
    return list(model.compute_score([(QUERY, p) for p in PASSAGES]))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_reranker_works_in_another_process(reranker: M3Reranker, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("this system does not fork")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        assert pool.submit(scored, reranker).result(120) == scored(reranker)


def test_many_threads_get_what_one_gets(reranker: M3Reranker) -> None:
    expected, found = scored(reranker), []
    threads = [threading.Thread(target=lambda: found.append(scored(reranker))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 6


# ---- bad input


class Broken:
    """An engine whose third pair has no number for a score."""

    name, device, threads, batch_tokens, pass_tokens, parallel_passes = "broken", "cpu", 1, 10_000, 10_000, 1

    def run(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64], heads: Heads,
        token_type_ids: NDArray[np.int64] | None = None,
    ) -> Outputs:  # fmt: skip
        logits = np.zeros((len(input_ids), 1), np.float32)
        logits[-1] = np.nan  # the shortest
        return Outputs(None, None, None, logits)


def test_a_score_that_is_no_number_never_leaves(bundles: dict[str, Path]) -> None:
    model = M3Reranker.with_engine(open_bundle(bundles["reranker"]), Broken())
    with pytest.raises(EngineError, match="not finite for pair 1; nothing returned"):
        model.compute_score([(QUERY, QUERY), ("a", ""), (QUERY, "a")])


def test_an_encoders_bundle_is_no_reranker_nor_the_reverse(bundles: dict[str, Path], bundle_fp32: Path) -> None:
    with pytest.raises(InputError, match=r"is a bundle of kind m3, expected reranker; open it with M3Encoder$"):
        M3Reranker(bundle_fp32)
    with pytest.raises(InputError, match=r"kind reranker, expected m3 or dense; open it with M3Reranker$"):
        M3Encoder(bundles["reranker"])
    bundle = open_bundle(bundle_fp32)
    with pytest.raises(InputError, match="open it with M3Encoder"):
        M3Reranker.with_engine(bundle, load_engine(bundle, threads=1))


def test_a_classifier_of_several_labels_gives_logits_and_no_score(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind="reranker", labels=3)
    model = M3Reranker(export(checkpoint, tmp_path / "bundle", precision="fp32").path, threads=1)
    assert model.logits([("a", "b"), ("a", "c")]).shape == (2, 3)
    for call in (lambda: model.compute_score(("a", "b")), lambda: model.rank("a", ["b"])):
        with pytest.raises(InputError, match=r"gives 3 labels to a pair, expected a reranker's one; use logits\(\)"):
            call()


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no pairs": ({"sentence_pairs": "a text"}, "sentence_pairs is a str"),
    "texts": ({"sentence_pairs": [("a", "b"), "cd", 7]}, "pair 1 is 'cd', expected"),
    "triple": ({"sentence_pairs": [("a", "b", "c")]}, r"pair 0 is .*expected \(query, passage\)"),
    "None": ({"sentence_pairs": [("a", None)]}, "the passage of pair 0 is a NoneType, expected str"),
    "bytes": ({"sentence_pairs": [(b"a", "b")]}, "the query of pair 0 is a bytes"),
    "surrogate": ({"sentence_pairs": [("a", "\ud800")]}, "the passage of pair 0 holds a lone surrogate"),
    "length 0": ({"sentence_pairs": [], "max_length": 0}, r"max_length is 0, expected 1\.\.128"),
    "length 129": ({"sentence_pairs": [], "max_length": 129}, r"max_length is 129, expected 1\.\.128"),
    "query length": ({"sentence_pairs": [], "query_max_length": -1}, "query_max_length is -1"),
    "normalize": ({"sentence_pairs": [], "normalize": "no"}, "normalize is 'no', expected True or False"),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_unusable_pairs_and_options_are_one_line(reranker: M3Reranker, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        reranker.compute_score(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("top_k", [0, -1, 1.5, "3", True])
def test_top_k_is_a_whole_number_from_1(reranker: M3Reranker, top_k: Any) -> None:
    with pytest.raises(InputError, match="top_k is"):
        reranker.rank("a", ["b"], top_k)


@pytest.mark.parametrize("name", odd_values())
def test_an_odd_value_is_an_m3rt_error_or_a_score(reranker: M3Reranker, name: str) -> None:
    value = odd_values()[name]
    calls: list[Callable[[], Any]] = [
        lambda: reranker.compute_score(value),
        lambda: reranker.rank(value, ["a"]),
        lambda: reranker.rank("a", odd_values()[name]),
        lambda: reranker.rank("a", ["b"], odd_values()[name]),
        lambda: reranker.compute_score([("a", "b")], max_length=value),
        lambda: reranker.compute_score([("a", "b")], query_max_length=value),
        lambda: reranker.compute_score([("a", "b")], normalize=value),
    ]
    assert all(map(_is_done_or_refused_in_one_line, calls))


def _is_done_or_refused_in_one_line(call: Callable[[], Any]) -> bool:
    try:
        call()
    except M3rtError as error:
        return "\n" not in str(error)
    return True
