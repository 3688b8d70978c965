"""A checkpoint directory as one map of tensors, whatever its files and names."""

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import FORMATS, State, write_checkpoint, write_json
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_export.tensors.reader import TensorStore, open_tensors
from m3rt_export.tensors.safetensors_file import read_safetensors
from safetensors.numpy import load_file, save_file
from torch_archive import dictionary, pickled, tensor, write_archive, write_torch_file

from m3rt.errors import CheckpointError

fuzz = settings(max_examples=150)
RANDOM = np.random.RandomState(0)
WEIGHT = RANDOM.normal(size=(4, 6)).astype(np.float32)


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_tensors(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def store_of(tmp_path: Path, state: State) -> TensorStore:
    save_file(state, tmp_path / "model.safetensors")
    return open_tensors(tmp_path)


@pytest.mark.parametrize("kind", ["m3", "bert"])
def test_every_file_layout_gives_the_same_tensors(tmp_path: Path, kind: str) -> None:
    for format in FORMATS:
        write_checkpoint(tmp_path / format, kind=kind, vocab=50, format=format)
    oracle = load_file(tmp_path / "safetensors" / "model.safetensors")
    for format in FORMATS:
        store = open_tensors(tmp_path / format)
        assert store.keys() == oracle.keys()
        for name, array in oracle.items():
            np.testing.assert_array_equal(store.require(name, array.shape), array)


@pytest.mark.parametrize(("format", "names"), [
    ("bin", ["pytorch_model.bin"]),
    ("safetensors", ["model.safetensors"]),
    ("sharded", ["model.safetensors.index.json", "model-0000{}-of-00002.safetensors"]),
    ("sharded-bin", ["pytorch_model.bin.index.json", "pytorch_model-0000{}-of-00002.bin"]),
])  # fmt: skip
def test_the_files_read_are_listed(tmp_path: Path, format: str, names: list[str]) -> None:
    write_checkpoint(tmp_path, vocab=50, format=format)
    expected = names[:1] + [name.format(i) for name in names[1:] for i in (1, 2)]
    assert open_tensors(tmp_path).files == [tmp_path / name for name in expected]


def test_safetensors_are_preferred_to_a_pickle(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, vocab=50, format="bin")
    write_checkpoint(tmp_path, vocab=50, format="safetensors")
    assert open_tensors(tmp_path).files == [tmp_path / "model.safetensors"]


def test_a_head_file_opens_alone(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, hidden=32, vocab=50)
    head = open_tensors(tmp_path / "sparse_linear.pt")
    assert head["weight"].dtype == np.float16
    assert head.require("weight", (1, 32)).dtype == np.float32


@pytest.mark.parametrize("prefix", ["", "roberta.", "bert.", "model.", "xlm_roberta.", "module.model.roberta."])
def test_a_prefix_makes_no_difference(tmp_path: Path, prefix: str) -> None:
    plain = open_tensors(write_checkpoint(tmp_path / "plain", vocab=50))
    prefixed = open_tensors(write_checkpoint(tmp_path / "prefixed", vocab=50, prefix=prefix))
    assert prefixed.keys() == plain.keys()


def test_a_rerankers_classifier_keeps_its_name(tmp_path: Path) -> None:
    names = open_tensors(write_checkpoint(tmp_path, kind="reranker", vocab=50)).keys()
    assert {"embeddings.LayerNorm.weight", "classifier.dense.weight", "classifier.out_proj.bias"} <= names


def test_layer_norms_of_old_conversions_get_todays_names(tmp_path: Path) -> None:
    ones = np.ones(4, np.float32)
    store = store_of(tmp_path, {f"bert.embeddings.LayerNorm.{name}": ones for name in ("gamma", "beta")})
    assert store.keys() == {"embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias"}


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    save_file({"pooler.bias": WEIGHT, "bert.pooler.bias": WEIGHT}, tmp_path / "model.safetensors")
    assert "'pooler.bias'" in refusal(tmp_path)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_float32(tmp_path: Path, dtype: Any) -> None:
    stored = WEIGHT.astype(dtype)
    array = store_of(tmp_path, {"w": stored}).require("w", (4, 6))
    assert (array.dtype, array.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(array, stored.astype(np.float32))


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_bfloat16_becomes_float32_exactly(tmp_path: Path, file: str) -> None:
    bits = (WEIGHT.view(np.uint32) >> 16).astype("<u2")
    if file.endswith(".bin"):
        data_pkl = pickled(dictionary({"w": tensor("0", (4, 6), storage="BFloat16Storage")}))
        write_archive(tmp_path / file, data_pkl, {"0": bits.tobytes()})
    else:
        entry = {"dtype": "BF16", "shape": [4, 6], "data_offsets": [0, 48]}
        write_raw(tmp_path / file, {"w": entry}, bits.tobytes())
    expected = (WEIGHT.view(np.uint32) & 0xFFFF0000).view(np.float32)
    np.testing.assert_array_equal(open_tensors(tmp_path).require("w", (4, 6)), expected)


def test_a_strided_tensor_comes_out_in_c_order(tmp_path: Path) -> None:
    data_pkl = pickled(dictionary({"w": tensor("0", (6, 4), numel=24, strides=(1, 6))}))
    write_archive(tmp_path / "pytorch_model.bin", data_pkl, {"0": WEIGHT.tobytes()})
    array = open_tensors(tmp_path).require("w", (6, 4))
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, WEIGHT.T)


@pytest.mark.parametrize("format", ["bin", "safetensors"])
def test_stored_float32_is_not_copied(tmp_path: Path, format: str) -> None:
    store = open_tensors(write_checkpoint(tmp_path, vocab=50, hidden=32, format=format))
    name = "embeddings.word_embeddings.weight"
    assert np.shares_memory(store[name], store.require(name, (50, 32)))
    assert not store[name].flags.writeable


def test_checking_a_tensor_takes_little_memory(tmp_path: Path) -> None:
    size = 16 << 20
    entry = {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}
    write_raw(tmp_path / "model.safetensors", {"w": entry}, b"")
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.truncate(file.seek(0, 2) + 4 * size)
    store = open_tensors(tmp_path)
    tracemalloc.start()
    store.require("w", (size,))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize(("name", "shape", "words"), [
    ("absent", (4, 6), ["'absent'", "(4, 6)", "model.safetensors"]),
    ("w", (6, 4), ["'w'", "(4, 6)", "(6, 4)"]),
    ("ids", (3,), ["'ids'", "int64", "floats"]),
    ("nan", (9,), ["'nan'", "2 non-finite"]),
    ("inf", (9,), ["'inf'", "1 non-finite"]),
    ("large", (1,), ["'large'", "1 non-finite"]),
])  # fmt: skip
def test_an_unusable_tensor_is_named(tmp_path: Path, name: str, shape: tuple[int, ...], words: list[str]) -> None:
    nan, inf = np.ones(9, np.float32), np.ones(9, np.float16)
    nan[[3, 8]], inf[0] = np.nan, -np.inf
    state = {"w": WEIGHT, "ids": np.arange(3), "nan": nan, "inf": inf, "large": np.array([1e300])}
    with pytest.raises(CheckpointError) as caught:
        store_of(tmp_path, state).require(name, shape)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_a_directory_without_weights_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "tf_model.h5").touch()
    assert "model.safetensors or" in refusal(tmp_path)
    assert "unknown kind" in refusal(tmp_path / "tf_model.h5")


def write_index(directory: Path, shard: str) -> Path:
    write_json(directory / "model.safetensors.index.json", {"weight_map": {"w": shard}})
    return directory


def test_an_index_may_not_lead_outside_its_directory(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoint"
    (directory / "sub").mkdir(parents=True)
    for path in (tmp_path, directory / "sub"):
        save_file({"w": WEIGHT}, path / "w.safetensors")
    (directory / "link.safetensors").symlink_to(tmp_path / "w.safetensors")
    names = [str(tmp_path / "w.safetensors"), "../w.safetensors", "sub/w.safetensors", "link.safetensors"]
    for name in [*names, "", "..", "config.json", "w\0.safetensors", "sub\\w.safetensors"]:
        assert "no weight file inside" in refusal(write_index(directory, name)), name


def test_a_link_into_the_hubs_cache_is_followed_from_a_snapshot(tmp_path: Path) -> None:
    repository = tmp_path / "models--org--name"
    snapshot, blob = repository / "snapshots" / "abc", repository / "blobs" / "0123"
    snapshot.mkdir(parents=True)
    blob.parent.mkdir()
    save_file({"w": WEIGHT}, blob)
    (snapshot / "model-1.safetensors").symlink_to("../../blobs/0123")
    store = open_tensors(write_index(snapshot, "model-1.safetensors"))
    np.testing.assert_array_equal(store.require("w", (4, 6)), WEIGHT)


def test_an_index_that_its_shards_contradict_is_refused(tmp_path: Path) -> None:
    save_file({"other": WEIGHT}, tmp_path / "a.safetensors")
    assert "'w' is not in a.safetensors" in refusal(write_index(tmp_path, "a.safetensors"))
    assert "b.safetensors: No such file" in refusal(write_index(tmp_path, "b.safetensors"))


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"weight_map": ["w"]}', '{"weight_map": {"w": 1}}', "[" * 100_000])
def test_a_malformed_index_is_refused(tmp_path: Path, index: str) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_text(index)
    assert "pytorch_model.bin.index.json" in refusal(tmp_path)


def write_raw(path: Path, header: Any, body: bytes) -> Path:
    """A safetensors file with any header at all."""
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + body)
    return path


@pytest.mark.parametrize("entry", [
    None, [], {}, {"shape": 5}, {"shape": [6]}, {"shape": [5.0]}, {"shape": [-1, -5]},
    {"dtype": "F8_E4M3"}, {"dtype": []}, {"data_offsets": [4, 24]}, {"data_offsets": [-4, 16]},
    {"data_offsets": [0]}, {"shape": [-5], "data_offsets": [0, -20]},
    {"shape": [0, 2**70], "data_offsets": [0, 0]}, {"shape": [1] * 100, "data_offsets": [0, 4]},
])  # fmt: skip
def test_a_hostile_safetensors_entry_is_refused(tmp_path: Path, entry: Any) -> None:
    good = {"dtype": "F32", "shape": [5], "data_offsets": [0, 20]}
    write_raw(tmp_path / "model.safetensors", {"w": good | entry if entry else entry}, bytes(20))
    assert "'w'" in refusal(tmp_path)


def test_a_cut_safetensors_file_is_one_clear_line(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, vocab=50, format="safetensors") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    assert "fetch it again" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\xff" * 16, b"\2" + bytes(7) + b"[]"])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    assert "expected" in refusal(tmp_path)


def test_a_git_lfs_pointer_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "is a Git LFS pointer: run `git lfs pull`" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["model-00001.safetensors", "model-00001.bin"])
def test_a_shard_that_is_a_fifo_is_refused_without_waiting(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
    os.mkfifo(tmp_path / name)
    assert "no regular file" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["tf_model.h5", "flax_model.msgpack", "model.onnx", "m3.Q4_K_M.gguf"])
def test_weights_of_another_kind_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert f"({name!r}), expected a file or a directory with model.safetensors" in refusal(tmp_path)


@fuzz
@given(st.data())
def test_a_damaged_safetensors_file_gives_tensors_or_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "damaged.safetensors"
    save_file({"w": WEIGHT, "b": WEIGHT[0].astype(np.float16)}, path)
    damaged = bytearray(path.read_bytes())
    header_end = 8 + int.from_bytes(damaged[:8], "little")
    places = st.tuples(st.integers(0, header_end), st.integers(0, 255))
    for place, value in data.draw(st.lists(places, min_size=1, max_size=4)):
        damaged[place] = value
    path.write_bytes(damaged[: data.draw(st.integers(header_end, len(damaged)))])
    try:
        tensors = read_safetensors(path)
    except CheckpointError:
        return
    assert sum(array.nbytes for array in tensors.values()) <= 2 * len(damaged)


def test_a_pickle_shard_is_read_like_a_single_file(tmp_path: Path) -> None:
    write_torch_file(tmp_path / "pytorch_model-00001-of-00001.bin", {"w": WEIGHT})
    weight_map = {"w": "pytorch_model-00001-of-00001.bin"}
    write_json(tmp_path / "pytorch_model.bin.index.json", {"weight_map": weight_map})
    np.testing.assert_array_equal(open_tensors(tmp_path).require("w", (4, 6)), WEIGHT)
