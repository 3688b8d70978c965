"""The reader of torch.save files: what it reads, and all that it refuses to read or run."""

import os
import pickle
import tracemalloc
import zipfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_export.tensors import torch_file
from m3rt_export.tensors.dtypes import BFLOAT16, Array, to_float32
from m3rt_export.tensors.torch_file import read_torch_file
from torch_archive import dictionary, integer, pickled, tensor, text, write_archive, write_torch_file

from m3rt.errors import CheckpointError

SAVED_BY_TORCH = Path(__file__).parents[1] / "data" / "torch_save.pt"
COUNTED = np.arange(24, dtype=np.float32)
RECORDS = {"0": COUNTED.tobytes()}
fuzz = settings(max_examples=150)


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_torch_file(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_every_kind_of_tensor_that_torch_saved_is_read_back() -> None:
    expected: dict[str, Any] = {
        "weight": [[0, 1, 2], [3, 4, 5]],
        "bias": [0.5, -0.5],
        "tied": [[0, 1, 2], [3, 4, 5]],
        "transposed": COUNTED.reshape(4, 6).T,
        "sliced": [3, 7, 11, 15, 19],
        "float16": [1, -2.5, 65504],
        "float64": [1e300],
        "int64": [[-1, 2**40]],
        "bool": [True, False],
        "scalar": 7,
        "empty": np.zeros((0, 5)),
        "parameter": [1, 1],
    }
    tensors = read_torch_file(SAVED_BY_TORCH)
    assert tensors.keys() == {*expected, "bfloat16"}
    for name, values in expected.items():
        np.testing.assert_array_equal(tensors[name], values, strict=False, err_msg=name)
    assert tensors["bfloat16"].dtype == BFLOAT16
    assert to_float32(tensors["bfloat16"]).tolist() == [1, -2.5, 3.140625]
    assert tensors["float16"].dtype == np.float16
    assert tensors["int64"].dtype == np.int64


def test_tensors_are_read_only_views_of_the_file() -> None:
    tensors = read_torch_file(SAVED_BY_TORCH)
    assert np.shares_memory(tensors["weight"], tensors["tied"])
    assert not any(array.flags.writeable or array.flags.owndata for array in tensors.values() if array.size)


@pytest.mark.parametrize("deflate", [False, True])
def test_a_big_endian_file_holds_the_same_numbers(tmp_path: Path, deflate: bool) -> None:
    data_pkl = pickled(dictionary({"w": tensor("0", (4, 6))}))
    swapped = {"0": COUNTED.byteswap().tobytes()}
    path = write_archive(tmp_path / "big.pt", data_pkl, swapped, byteorder="big", deflate=deflate)
    np.testing.assert_array_equal(read_torch_file(path)["w"], COUNTED.reshape(4, 6))


@pytest.mark.parametrize("wrappers", [("state_dict",), ("model",), ("model", "state_dict")])
def test_a_nested_state_dict_is_unwrapped(tmp_path: Path, wrappers: tuple[str, ...]) -> None:
    opcodes = dictionary({"w": tensor("0", (24,))})
    for wrapper in wrappers:
        opcodes = dictionary({"epoch": integer(3), wrapper: opcodes})
    assert list(read_torch_file(write_archive(tmp_path / "a.pt", pickled(opcodes), RECORDS))) == ["w"]


def test_a_dict_that_holds_itself_is_refused(tmp_path: Path) -> None:
    itself = b"}q\x01" + text("model") + b"h\x01s"
    assert "no named tensors" in refusal(write_archive(tmp_path / "a.pt", pickled(itself), {}))


class Runs:
    """Pickles as a call, which plain unpickling makes."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self.reduced

    def __call__(self) -> None:
        raise AssertionError("pickle wants a callable, and only its reduced form is written")


ATTACKS: dict[str, Any] = {
    "system": lambda marker: Runs(os.system, f"touch {marker}"),
    "eval": lambda marker: Runs(eval, f"open({str(marker)!r}, 'w').close()"),
    "exec": lambda marker: Runs(exec, f"open({str(marker)!r}, 'w').close()"),
    "open": lambda marker: Runs(os.open, str(marker), os.O_CREAT),
    "getattr": lambda marker: Runs(Runs(getattr, Runs(__import__, "os"), "system"), f"touch {marker}"),
    "partial": lambda marker: Runs(partial(os.system, f"touch {marker}")),
    "map": lambda marker: Runs(list, Runs(map, os.mkdir, [str(marker)])),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path, attack: str, protocol: int) -> None:
    marker = tmp_path / "marker"
    data_pkl = pickle.dumps({"weight": ATTACKS[attack](marker)}, protocol)
    assert "nothing was executed" in refusal(write_archive(tmp_path / "evil.pt", data_pkl, {}))
    assert not marker.exists()
    with suppress(Exception):
        pickle.loads(data_pkl)  # noqa: S301 - shows that the attack is a live one
    assert marker.exists()


@pytest.mark.parametrize("place", ["first", "after a tensor", "as an argument", "as a persistent id", "as a state"])
def test_an_attack_is_refused_wherever_it_stands(tmp_path: Path, place: str) -> None:
    marker = tmp_path / "marker"
    attack = pickle.dumps(ATTACKS["system"](marker), 2)[2:-1]
    good = tensor("0", (24,))
    opcodes = {
        "first": attack + b"0" + dictionary({"w": good}),
        "after a tensor": dictionary({"w": good, "x": attack}),
        "as an argument": dictionary({"w": good.replace(b"\x89c", b"\x89" + attack + b"c")}),
        "as a persistent id": dictionary({"w": good.replace(text("cpu"), attack)}),
        "as a state": dictionary({"w": good}) + attack + b"b",
    }[place]
    assert "'posix.system'" in refusal(write_archive(tmp_path / "evil.pt", pickled(opcodes), RECORDS))
    assert not marker.exists()


@pytest.mark.parametrize("name", [
    "torch.load", "torch.hub.load", "torch.serialization.load", "torch.storage._load_from_bytes",
    "torch._utils._rebuild_tensor", "torch.jit._load", "torch.UntypedStorage", "torch.FloatStorage.from_file",
    "numpy.load", "numpy.core.multiarray._reconstruct", "builtins.__import__", "collections.defaultdict",
    "collections.OrderedDict.fromkeys", "operator.attrgetter", "copyreg._reconstructor", "functools.partial",
])  # fmt: skip
def test_a_global_outside_the_table_is_refused_by_name(tmp_path: Path, name: str) -> None:
    module, attribute = name.rsplit(".", 1)
    plain = f"c{module}\n{attribute}\n)R".encode()
    stacked = text(module) + text(attribute) + b"\x93)R"
    for opcodes in (plain, stacked):
        path = write_archive(tmp_path / "evil.pt", pickled(dictionary({"w": opcodes})), {})
        assert f"{name!r}" in refusal(path)


@pytest.mark.parametrize("opcodes", [
    b"(ios\nsystem\n", b"(ccollections\nOrderedDict\no", b"ccollections\nOrderedDict\n)\x81",
    b"ccollections\nOrderedDict\n)}\x92", b"\x82\x01", b"Pstorage\n", b"2", b"\x96" + bytes(8), b"(d",
    b"I1\n",
])  # fmt: skip
def test_an_opcode_that_no_tensor_needs_is_refused(tmp_path: Path, opcodes: bytes) -> None:
    path = write_archive(tmp_path / "evil.pt", pickled(b"}" + opcodes), {})
    assert "opcode" in refusal(path)


@pytest.mark.parametrize("opcodes", [
    b"ctorch\nFloatStorage\n)R",  # a storage type is no function
    b"}(}}u", b"}((tK\x01u", b"}(NK\x01u",  # dict keys that are a dict, a tuple, None
    b"K\x01K\x02a", b"K\x01K\x02K\x03s", b"}(K\x01u", b"}(K\x01e",  # items for a number, half an item
    b"ccollections\nOrderedDict\nK\x01R", b"ccollections\nOrderedDict\n(K\x01tR",  # a call without a tuple
    b"t", b"Q", b"R", b"b", b"q\x00", b"h\x09", b"\x93", b"K\x01K\x02\x93", b"cno_newline",
])  # fmt: skip
def test_a_pickle_that_misuses_the_stack_is_refused(tmp_path: Path, opcodes: bytes) -> None:
    assert "malformed" in refusal(write_archive(tmp_path / "evil.pt", pickled(opcodes), {}))


@pytest.mark.parametrize("identifier", [
    text("storage"), b"N", b")", b"K\x01",
    b"(" + text("module") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + integer(24) + b"t",
    b"(" + text("storage") + text("FloatStorage") + text("0") + text("cpu") + integer(24) + b"t",
    b"(" + text("storage") + b"ccollections\nOrderedDict\n" + text("0") + text("cpu") + integer(24) + b"t",
    b"(" + text("storage") + b"ctorch\nFloatStorage\n" + integer(0) + text("cpu") + integer(24) + b"t",
    b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + integer(-24) + b"t",
    b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + text("24") + b"t",
    b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + integer(24) + b"Nt",
])  # fmt: skip
def test_a_persistent_id_that_is_no_storage_is_refused(tmp_path: Path, identifier: bytes) -> None:
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + identifier + b"QK\x00(K\x18t(K\x01tN)tR"
    refusal(write_archive(tmp_path / "evil.pt", pickled(dictionary({"w": call})), RECORDS))


@pytest.mark.parametrize("key", ["1", "../data.pkl", "/etc/passwd", "0/../0", ""])
def test_a_storage_key_names_only_the_archives_own_records(tmp_path: Path, key: str) -> None:
    data_pkl = pickled(dictionary({"w": tensor(key, (24,))}))
    refusal(write_archive(tmp_path / "evil.pt", data_pkl, RECORDS))


@pytest.mark.parametrize("window", [
    {"shape": (25,)}, {"shape": (24,), "offset": 1}, {"shape": (1,), "offset": 24},
    {"shape": (4, 6), "strides": (6, 2)}, {"shape": (2,), "strides": (2**62,)},
    {"shape": (2**62, 2**62), "strides": (0, 0)}, {"shape": (25,), "strides": (0,)},
    {"shape": (2,), "strides": (-1,)}, {"shape": (-1,), "strides": (1,)}, {"shape": (1,), "offset": -1},
    {"shape": (2,), "strides": (2**63,)}, {"shape": (2, 2), "strides": (1,)}, {"shape": (1,) * 33},
    {"shape": (0, 2**62, 2**62), "strides": (0, 0, 0)}, {"shape": (1,), "numel": 25},
    {"shape": (1,), "numel": 2**62},
])  # fmt: skip
def test_a_window_that_leaves_its_storage_is_refused(tmp_path: Path, window: dict[str, Any]) -> None:
    data_pkl = pickled(dictionary({"w": tensor("0", **{"numel": 24} | window)}))
    refusal(write_archive(tmp_path / "evil.pt", data_pkl, RECORDS))


@fuzz
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 13)), max_size=3), st.integers(0, 25))
def test_a_window_reads_its_own_elements_or_is_refused(
    tmp_path: Path, dims: list[tuple[int, int]], offset: int
) -> None:
    shape, strides = tuple(n for n, _ in dims), tuple(stride for _, stride in dims)
    data_pkl = pickled(dictionary({"w": tensor("0", shape, numel=24, offset=offset, strides=strides)}))
    path = write_archive(tmp_path / "w.pt", data_pkl, RECORDS)
    elements = np.array([offset + int(np.dot(i, strides)) for i in np.ndindex(shape)], int)
    if elements.size > 24 or np.any(elements >= 24):
        refusal(path)
    else:
        np.testing.assert_array_equal(read_torch_file(path)["w"], COUNTED[elements].reshape(shape))


def test_a_large_memo_index_takes_no_memory(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "evil.pt", pickled(b"}r\xff\xff\xff\xff"), {})
    tracemalloc.start()
    refusal(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("deflate", [False, True])
def test_a_huge_pickle_is_refused_before_it_is_read(tmp_path: Path, deflate: bool) -> None:
    huge = bytes(torch_file.MAX_PICKLE_BYTES + 1)
    assert "data.pkl takes" in refusal(write_archive(tmp_path / "evil.pt", huge, {}, deflate=deflate))


def test_records_that_unpack_to_many_times_the_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_pkl = pickled(dictionary({"w": tensor("0", (1 << 18,))}))
    path = write_archive(tmp_path / "bomb.pt", data_pkl, {"0": bytes(1 << 20)}, deflate=True)
    assert not read_torch_file(path)["w"].any()
    monkeypatch.setattr(torch_file, "INFLATION_ALLOWANCE_BYTES", 1 << 10)
    assert "unpacks to" in refusal(path)


@pytest.mark.parametrize(("content", "reason"), [
    (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + b"...", "re-save it as safetensors"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    (b"", "fetch it again"), (b"PK\3\4 cut off", "fetch it again"), (b"<html>", "fetch it again"),
])  # fmt: skip
def test_a_file_that_is_no_archive_says_what_to_do(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(content)
    assert reason in refusal(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.bin")
    assert "no regular file" in refusal(tmp_path)


def test_a_zip_without_one_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    for names in (["notes.txt"], ["a/data.pkl", "b/data.pkl"]):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"x")
        assert "data.pkl" in refusal(path)


def read_or_refuse(path: Path) -> None:
    with suppress(CheckpointError):
        for array in read_torch_file(path).values():
            array.tobytes()


def small_file(tmp_path: Path, deflate: bool) -> bytes:
    data_pkl = pickled(dictionary({"w": tensor("0", (4, 6)), "b": tensor("0", (3,), numel=24, offset=7)}))
    return write_archive(tmp_path / "small.pt", data_pkl, RECORDS, deflate=deflate).read_bytes()


@fuzz
@given(st.data(), st.booleans())
def test_a_cut_file_is_refused(tmp_path: Path, data: st.DataObject, deflate: bool) -> None:
    whole = small_file(tmp_path, deflate)
    path = tmp_path / "cut.pt"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    refusal(path)


@settings(fuzz, max_examples=300)
@given(st.data(), st.booleans())
def test_flipped_bytes_give_tensors_or_a_refusal(tmp_path: Path, data: st.DataObject, deflate: bool) -> None:
    damaged = bytearray(small_file(tmp_path, deflate))
    places = st.integers(0, len(damaged) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        damaged[place] = value
    path = tmp_path / "flipped.pt"
    path.write_bytes(damaged)
    read_or_refuse(path)


PIECES = [bytes([code]) for code in b"(}])0abeNQRstu\x85\x86\x87\x88\x93\x94"] + [
    b"q\x01", b"h\x01", b"K\x05", text("w"), text("state_dict"), integer(2**70), tensor("0", (4, 6)),
    b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_parameter\n",
]  # fmt: skip


@settings(fuzz, max_examples=300)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=20))
def test_any_pickle_gives_tensors_or_a_refusal(tmp_path: Path, opcodes: list[bytes]) -> None:
    read_or_refuse(write_archive(tmp_path / "noise.pt", pickled(b"".join(opcodes)), RECORDS))


@pytest.mark.parity
def test_torch_reads_the_same_from_the_archives_of_these_tests(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state: dict[str, Array] = {
        "w": COUNTED.reshape(4, 6),
        "h": COUNTED[:3].astype(np.float16),
        "n": np.arange(3),
    }
    path = write_torch_file(tmp_path / "w.pt", state)
    theirs, ours = torch.load(path, weights_only=True), read_torch_file(path)
    for name, array in state.items():
        np.testing.assert_array_equal(theirs[name].numpy(), array)
        np.testing.assert_array_equal(ours[name], array)
