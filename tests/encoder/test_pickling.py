"""An encoder, an index and the drop-in pickle as their arguments and open again, in another process too."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m3rt import HybridIndex, InputError, M3Encoder
from m3rt.bundle import open_bundle
from m3rt.compat import BGEM3FlagModel
from m3rt.engines import load_engine

TEXTS = ["The ferry leaves at seven.", "東京タワー"]
COPIES = [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy, copy.copy]  # noqa: S301


def encoded(model: M3Encoder) -> Any:
    return model.encode(TEXTS).dense_vecs


@pytest.mark.parametrize("again", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_an_encoder_opens_again_with_its_arguments(again: Any, bundle_fp32: Path) -> None:
    model = M3Encoder(bundle_fp32, engine="openvino", threads=1, batch_tokens=77)
    other = again(model)
    assert repr(other) == repr(model)
    assert other.batch_tokens == 77
    np.testing.assert_array_equal(encoded(other), encoded(model))


def test_an_encoder_opens_again_in_a_spawned_process_and_another_directory(
    bundle_fp32: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(bundle_fp32.parent)
    model = M3Encoder(bundle_fp32.name, threads=1)
    monkeypatch.chdir(tmp_path)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        np.testing.assert_array_equal(pool.submit(encoded, model).result(120), encoded(model))


def test_the_model_that_comes_with_the_package_is_named_not_its_place() -> None:
    assert str(open_bundle().path).encode() not in pickle.dumps(M3Encoder(threads=1))


@pytest.mark.parametrize("again", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_the_drop_in_opens_again(again: Any, bundle_fp32: Path) -> None:
    model = BGEM3FlagModel(str(bundle_fp32), query_instruction_for_retrieval="query: ")
    np.testing.assert_array_equal(
        again(model).encode_queries(TEXTS)["dense_vecs"], model.encode_queries(TEXTS)["dense_vecs"]
    )


@pytest.mark.parametrize("given", ["path", "encoder", "nothing"])
@pytest.mark.parametrize("again", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_an_index_opens_again_and_sees_what_is_on_disk(
    again: Any, given: str, bundle_fp32: Path, tmp_path: Path
) -> None:
    model = {"path": str(bundle_fp32), "encoder": M3Encoder(bundle_fp32, threads=1), "nothing": None}[given]
    HybridIndex.create(tmp_path / "index", bundle_fp32)
    index = HybridIndex(tmp_path / "index", model, threads=1)
    index.add(["a"], ["The ferry leaves at seven."])
    assert [hit.id for hit in again(index).search("ferry")] == ["a"]


@pytest.mark.parametrize("send", [pickle.dumps, copy.deepcopy])
def test_an_encoder_around_an_engine_of_ones_own_says_what_to_send(send: Any, bundle_fp32: Path) -> None:
    bundle = open_bundle(bundle_fp32)
    model = M3Encoder.with_engine(bundle, load_engine(bundle, threads=1))
    with pytest.raises(InputError, match="send the bundle's path") as caught:
        send(model)
    assert "\n" not in str(caught.value)


def test_a_bundle_that_is_gone_is_named_where_it_is_opened_again(bundle_fp32: Path) -> None:
    from m3rt import BundleError

    sent = pickle.dumps(M3Encoder(bundle_fp32, threads=1))
    moved = bundle_fp32.rename(bundle_fp32.with_name("moved"))
    try:
        with pytest.raises(BundleError, match="does not exist"):
            pickle.loads(sent)  # noqa: S301
    finally:
        moved.rename(bundle_fp32)
