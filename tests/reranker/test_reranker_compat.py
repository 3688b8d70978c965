"""FlagReranker: FlagEmbedding's calls and the types that it returns, over M3Reranker's numbers."""

import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences

from m3rt import InputError, M3Reranker
from m3rt.compat import FlagReranker

PAIRS = list(zip(sentences()[:9], sentences()[3:12], strict=True))
# Of FlagEmbedding 1.4.2, without types; test_reranker_parity.py compares with the class itself.
SIGNATURES = {
    "__init__": "self, model_name_or_path, use_fp16=False, query_instruction_for_rerank=None, "
    "query_instruction_format='{}{}', passage_instruction_for_rerank=None, passage_instruction_format='{}{}', "
    "trust_remote_code=False, cache_dir=None, devices=None, batch_size=128, query_max_length=None, max_length=512, "
    "normalize=False, **kwargs",
    "compute_score": "self, sentence_pairs, **kwargs",
    "compute_score_single_gpu": "self, sentence_pairs, batch_size=None, query_max_length=None, max_length=None, "
    "normalize=None, device=None, **kwargs",
    "get_detailed_instruct": "self, instruction_format, instruction, sentence",
    "get_detailed_inputs": "self, sentence_pairs",
    "start_multi_process_pool": "self",
    "encode_multi_process": "self, sentence_pairs, pool, **kwargs",
    "stop_multi_process_pool": "pool",
    "stop_self_pool": "self",
}


def signature(function: Callable[..., Any]) -> str:
    """The parameters of a function without their types."""
    parameters = inspect.signature(function).parameters.values()
    return ", ".join(str(p.replace(annotation=inspect.Parameter.empty)) for p in parameters)


@pytest.fixture(scope="module")
def model(bundles: dict[str, Path]) -> FlagReranker:
    return FlagReranker(bundles["reranker"], devices="cpu", threads=1)


@pytest.mark.parametrize("method", SIGNATURES)
def test_a_method_has_flagembeddings_signature(method: str) -> None:
    assert signature(getattr(FlagReranker, method)) == SIGNATURES[method]


def test_scores_are_a_list_of_floats(model: FlagReranker, reranker: M3Reranker) -> None:
    expected = list(reranker.compute_score(PAIRS))
    assert model.compute_score(PAIRS, batch_size=2) == pytest.approx(expected, abs=1e-5)
    assert model.compute_score(PAIRS[0]) == pytest.approx(expected[:1], abs=1e-5)
    assert type(model.compute_score(PAIRS)) is list
    assert model.compute_score([]) == []


def test_limits_and_normalize_default_to_the_constructors(bundles: dict[str, Path], reranker: M3Reranker) -> None:
    limits: dict[str, Any] = {"max_length": 20, "query_max_length": 6, "normalize": True}
    model = FlagReranker(bundles["reranker"], threads=1, **limits)
    assert model.compute_score(PAIRS) == pytest.approx(list(reranker.compute_score(PAIRS, **limits)), abs=1e-5)
    whole = {"max_length": 512, "normalize": False}
    expected = reranker.compute_score(PAIRS, query_max_length=6)
    assert model.compute_score(PAIRS, **whole) == pytest.approx(list(expected), abs=1e-5)


def test_instructions_stand_before_their_texts(bundles: dict[str, Path], reranker: M3Reranker) -> None:
    model = FlagReranker(
        bundles["reranker"], query_instruction_for_rerank="A: ", query_instruction_format="{}\\n{}",
        passage_instruction_for_rerank="B: ", threads=1,
    )  # fmt: skip
    expected = reranker.compute_score([("A: \nferry", "B: harbour")])
    assert model.compute_score([("ferry", "harbour")]) == pytest.approx(list(expected), abs=1e-5)
    assert model.compute_score_single_gpu([("A: \nferry", "B: harbour")]) == pytest.approx(list(expected), abs=1e-5)


def test_a_pool_of_processes_is_this_one(model: FlagReranker) -> None:
    pool = model.start_multi_process_pool()
    scores = model.encode_multi_process(PAIRS, pool, batch_size=3)
    np.testing.assert_allclose(scores, model.compute_score(PAIRS), atol=1e-5)
    model.stop_multi_process_pool(pool)
    model.stop_self_pool()
    assert (model.target_devices, model.pool) == (["cpu"], None)


def test_the_drop_in_pickles(model: FlagReranker) -> None:
    other = pickle.loads(pickle.dumps(model))  # noqa: S301
    assert other.compute_score(PAIRS) == pytest.approx(model.compute_score(PAIRS), abs=1e-5)
    assert other.tokenizer.encode("ferry") == model.tokenizer.encode("ferry")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.compute_score(PAIRS, cutoff_layers=[8]), "takes no keyword 'cutoff_layers'"),
        (lambda model: model.compute_score("ferry"), "sentence_pairs is a str"),
        (lambda model: model.compute_score(PAIRS, batch_size=0), "batch_size is 0"),
        (lambda model: model.compute_score(PAIRS, normalize="yes"), "normalize is 'yes'"),
        (lambda model: model.compute_score_single_gpu(PAIRS, device="cuda:0"), "device is 'cuda:0', but the model is"),
        (lambda model: FlagReranker(model.model.path, devices=["cpu", "cuda:0"]), "devices is"),
        (lambda model: FlagReranker(model.model.path, prompt="x"), "takes no keyword 'prompt'"),
    ],
)
def test_what_cannot_be_honoured_is_one_line(
    model: FlagReranker, call: Callable[[FlagReranker], Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call(model)
    assert "\n" not in str(caught.value)
