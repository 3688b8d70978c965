"""Opening a bundle: damage, tampering and other formats end in one line, and nothing outside is read."""

import json
import os
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import marisa_trie
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3rt import BundleError, M3Encoder
from m3rt.bundle import check_hashes, open_bundle
from m3rt.bundle.manifest import Manifest
from m3rt.host.files import sha256
from m3rt.text.unigram import FILES as UNIGRAM_FILES

FILES = ("model.onnx", "weights.bin", "tokenizer.json", "golden.json", *UNIGRAM_FILES)
fuzz = settings(max_examples=300)


@pytest.fixture
def bundle(bundle_fp32: Path, tmp_path: Path) -> Path:
    """Make a copy to tamper with."""
    return shutil.copytree(bundle_fp32, tmp_path / "bundle")


def manifest_of(bundle: Path) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((bundle / "m3rt.json").read_text("utf-8"))
    return raw


def write_manifest(bundle: Path, raw: Any) -> None:
    (bundle / "m3rt.json").write_text(json.dumps(raw), "utf-8")


def refusal(bundle: Path) -> str:
    with pytest.raises(BundleError) as caught:
        M3Encoder(bundle, threads=1)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- files


def test_an_untouched_copy_opens_and_its_hashes_hold(bundle: Path) -> None:
    check_hashes(open_bundle(bundle))
    assert len(M3Encoder(str(bundle), threads=1).encode("x")) == 1


def test_a_missing_bundle_is_named_with_the_command_that_makes_one(tmp_path: Path) -> None:
    assert f"{tmp_path / 'none'} does not exist; expected a bundle made by: m3rt export" in refusal(tmp_path / "none")
    assert f"{tmp_path} has no m3rt.json" in refusal(tmp_path)
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'} is a file; expected a bundle" in refusal(tmp_path / "file")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_refused_with_both_sizes(bundle: Path, name: str, change: int) -> None:
    size = (bundle / name).stat().st_size
    os.truncate(bundle / name, size + change)
    assert f"{name} has {size + change} bytes, expected {size}" in refusal(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert f"{bundle / name} is missing" in refusal(bundle)


@given(name=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(fuzz, max_examples=40)
def test_any_flipped_bit_fails_the_hashes(bundle: Path, name: str, place: float, bit: int) -> None:
    whole = bytearray((bundle / name).read_bytes())
    whole[int(place * len(whole))] ^= 1 << bit
    opened = open_bundle(bundle)
    (bundle / name).write_bytes(whole)
    with pytest.raises(BundleError, match=f"{name} has SHA-256 {sha256(bundle / name)}, expected"):
        check_hashes(opened)
    whole[int(place * len(whole))] ^= 1 << bit
    (bundle / name).write_bytes(whole)


@pytest.mark.parametrize("name", FILES)
def test_a_link_in_the_place_of_a_file_is_refused(bundle: Path, name: str) -> None:
    elsewhere = (bundle / name).rename(bundle.parent / Path(name).name)
    (bundle / name).symlink_to(elsewhere)
    assert f"{bundle / name} is a link" in refusal(bundle)


def test_a_link_in_the_place_of_a_folder_is_refused(bundle: Path) -> None:
    outside = bundle.parent / "outside"
    outside.mkdir()
    shutil.move(bundle / "golden.json", outside)
    (bundle / "folder").symlink_to(outside, target_is_directory=True)
    raw = manifest_of(bundle)
    raw["files"]["folder/golden.json"] = raw["files"].pop("golden.json")
    write_manifest(bundle, raw)
    assert f"{bundle / 'folder'}" in refusal(bundle)


@pytest.mark.parametrize("name", [
    "../secret", "/etc/hostname", "a/../../secret", "..", "", ".", "..\\secret", "C:secret", "C:\\secret", "//host/x",
    "a\0b", "a\nb", "x" * 5000, "語" * 90, "\ud800",
])  # fmt: skip
def test_a_file_name_that_leaves_the_bundle_is_refused(bundle: Path, name: str) -> None:
    (bundle.parent / "secret").write_bytes(b"")
    raw = manifest_of(bundle)
    raw["files"][name] = {"size": 0, "sha256": ""}
    write_manifest(bundle, raw)
    refusal(bundle)


def test_only_files_of_the_manifest_are_handed_out(bundle: Path) -> None:
    (bundle / "other").write_text("not listed")
    for name in ("other", "m3rt.json", "../bundle/model.onnx"):
        with pytest.raises(BundleError, match="is not a file of this bundle"):
            open_bundle(bundle).file(name)


# ---- the manifest


def test_the_manifest_survives_a_round_trip(bundle: Path) -> None:
    text = (bundle / "m3rt.json").read_text("utf-8")
    assert Manifest.from_json(text).to_json() == text


@pytest.mark.parametrize("version", [2, 0, "1", None, [1]])
def test_another_format_says_which_m3rt_reads_it(bundle: Path, version: Any) -> None:
    write_manifest(bundle, manifest_of(bundle) | {"format_version": version, "m3rt_version": "7.8.9", "new": 1})
    message = refusal(bundle)
    assert f"format {version} (written by m3rt 7.8.9)" in message
    assert 'pip install "m3rt>=7.8.9"' in message


def test_unknown_keys_are_refused_by_name(bundle: Path) -> None:
    write_manifest(bundle, manifest_of(bundle) | {"zeta": 1, "alpha": 2})
    assert "unknown keys: alpha, zeta" in refusal(bundle)


@pytest.mark.parametrize(("key", "value"), [
    ("kind", "sparse"), ("precision", "int2"), ("engine", "torch"), ("pooling", "max"), ("max_tokens", 2),
    ("max_tokens", 10**9), ("max_tokens", "8192"), ("max_tokens", 8.5), ("kind", ["m3"]), ("source", None),
    ("files", []), ("prompts", None), ("prompts", {"query": 5}), ("matryoshka_dims", "abc"), ("matryoshka_dims", [-1]),
    ("special_tokens", {"bos": 0, "eos": 2, "pad": "1", "unk": 3}), ("fidelity", 1), ("m3rt_version", 1),
])  # fmt: skip
def test_a_value_out_of_its_range_is_refused_by_key_or_value(bundle: Path, key: str, value: Any) -> None:
    write_manifest(bundle, manifest_of(bundle) | {key: value})
    assert "m3rt.json" in refusal(bundle)


@pytest.mark.parametrize("key", ["kind", "source", "architecture", "special_tokens", "graph", "files", "max_tokens"])
def test_a_missing_key_is_refused(bundle: Path, key: str) -> None:
    raw = manifest_of(bundle)
    del raw[key]
    write_manifest(bundle, raw)
    assert "damaged" in refusal(bundle)


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"[]", b"1", b'"x"', b"\xff\xfe", b"[" * 100_000, b"{}"])
def test_what_is_no_manifest_is_refused(bundle: Path, text: bytes) -> None:
    (bundle / "m3rt.json").write_bytes(text)
    line = refusal(bundle)
    assert str(bundle) in line
    assert f"{bundle / 'm3rt.json'} cannot be read" in line or "not a m3rt manifest" in line


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def replaced(raw: Any, data: st.DataObject, value: Any) -> Any:
    """Return `raw` with `value` somewhere in it."""
    if not isinstance(raw, dict | list) or not raw or data.draw(st.integers(0, 3)) == 0:
        return value
    keys = list(raw) if isinstance(raw, dict) else range(len(raw))
    key = data.draw(st.sampled_from(keys))
    copy = raw.copy()
    copy[key] = replaced(raw[key], data, value)
    return copy


@given(st.data(), ANYTHING)
@fuzz
def test_any_value_anywhere_in_the_manifest_opens_or_is_refused(bundle: Path, data: st.DataObject, value: Any) -> None:
    raw = manifest_of(bundle)
    write_manifest(bundle, replaced(raw, data, value))
    try:
        opened = open_bundle(bundle)
    except BundleError:
        refusal(bundle)
    else:
        assert opened.manifest.to_json()
    write_manifest(bundle, raw)


@given(st.binary(max_size=60))
@settings(fuzz, max_examples=60)
def test_any_bytes_as_the_manifest_are_refused(bundle: Path, junk: bytes) -> None:
    (bundle / "m3rt.json").write_bytes(junk)
    refusal(bundle)


# ---- the graph and the tokenizer


def rewrite(bundle: Path, name: str, content: bytes) -> None:
    """Replace a file and its size in the manifest, as an attacker would."""
    (bundle / name).write_bytes(content)
    raw = manifest_of(bundle)
    raw["files"][name]["size"] = len(content)
    write_manifest(bundle, raw)


def copied(bundle: Path, outside: Path) -> None:
    shutil.copy(bundle / "weights.bin", outside)


def linked(bundle: Path, outside: Path) -> None:
    copied(bundle, outside)
    (bundle / "link.bin").symlink_to(outside)


def linked_folder(bundle: Path, outside: Path) -> None:
    copied(bundle, outside)
    (bundle / "folder").symlink_to(outside.parent)


@pytest.mark.parametrize(("location", "prepare"), [
    ("../outside.bin", copied), ("{parent}/outside.bin", copied), ("link.bin", linked),
    ("folder/outside.bin", linked_folder), ("none.bin", copied), ("/dev/zero", copied),
])  # fmt: skip
def test_a_graph_that_reads_weights_outside_the_bundle_is_refused(
    bundle: Path, location: str, prepare: Callable[[Path, Path], None]
) -> None:
    prepare(bundle, bundle.parent / "outside.bin")
    model = onnx.load(bundle / "model.onnx", load_external_data=False)
    entries = [e for t in model.graph.initializer for e in t.external_data if e.key == "location"]
    for entry in entries:
        entry.value = location.format(parent=bundle.parent)
    rewrite(bundle, "model.onnx", model.SerializeToString())
    assert entries
    assert f"{bundle / 'model.onnx'} cannot be loaded" in refusal(bundle)


@pytest.mark.parametrize("content", [b"", b"not onnx", b"\0" * 1000])
def test_what_is_no_graph_is_refused(bundle: Path, content: bytes) -> None:
    rewrite(bundle, "model.onnx", content)
    assert f"{bundle / 'model.onnx'} cannot be loaded" in refusal(bundle)


def without_unigram(bundle: Path) -> None:
    raw = manifest_of(bundle)
    write_manifest(bundle, raw | {"files": {n: r for n, r in raw["files"].items() if n not in UNIGRAM_FILES}})


@pytest.mark.parametrize("name", ["tokenizer.json", "unigram/pipeline.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"model": {"type": "BPE"}}'])
def test_what_is_no_tokenizer_is_refused(bundle: Path, name: str, content: bytes) -> None:
    rewrite(bundle, name, content)
    if name == "tokenizer.json":
        without_unigram(bundle)
    assert f"{bundle / name} is not a tokenizer file" in refusal(bundle)


@pytest.mark.parametrize("name", ["tokenizer.json", "unigram/pipeline.json"])
def test_a_tokenizer_that_adds_no_special_tokens_is_refused(bundle: Path, name: str) -> None:
    raw = json.loads((bundle / name).read_text("utf-8"))
    rewrite(bundle, name, json.dumps(raw | {"post_processor": None}).encode())
    if name == "tokenizer.json":
        without_unigram(bundle)
    assert f"{bundle / name} makes [] of an empty text, expected [0, 2]" in refusal(bundle)


def test_a_bundle_without_one_of_the_unigram_files_is_refused(bundle: Path) -> None:
    raw = manifest_of(bundle)
    del raw["files"]["unigram/ids.npy"]
    write_manifest(bundle, raw)
    assert "'unigram/ids.npy' is not a file of this bundle" in refusal(bundle)


@given(st.integers(0, 2**32), st.floats(0, 1))
@settings(fuzz, max_examples=60)
def test_a_trie_with_damaged_bytes_is_refused_before_it_is_read(bundle: Path, seed: int, share: float) -> None:
    whole = bytearray((bundle / "unigram/pieces.trie").read_bytes())
    junk = Random(seed)
    for _ in range(1 + int(share * 1000)):
        whole[junk.randrange(len(whole))] ^= junk.randrange(1, 256)
    expected = open_bundle(bundle).manifest.files["unigram/pieces.trie"].sha256
    untouched = (bundle / "unigram/pieces.trie").read_bytes()
    (bundle / "unigram/pieces.trie").write_bytes(whole)
    if sha256(bundle / "unigram/pieces.trie") != expected:  # two changes may undo each other
        assert f"{bundle / 'unigram/pieces.trie'} is damaged" in refusal(bundle)
    (bundle / "unigram/pieces.trie").write_bytes(untouched)


def recorded(bundle: Path, name: str, content: bytes) -> None:
    """Do as rewrite(), and record the right hash."""
    rewrite(bundle, name, content)
    raw = manifest_of(bundle)
    raw["files"][name]["sha256"] = sha256(bundle / name)
    write_manifest(bundle, raw)


@pytest.mark.parametrize("content", [b"", b"We love Marisa.\0", b"\0" * 5000, bytes(range(256)) * 20])
def test_what_is_no_trie_is_refused(bundle: Path, content: bytes) -> None:
    recorded(bundle, "unigram/pieces.trie", content)
    assert f"{bundle / 'unigram/pieces.trie'} is not a trie" in refusal(bundle)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_trie_cut_short_is_refused(bundle: Path, share: float) -> None:
    whole = (bundle / "unigram/pieces.trie").read_bytes()
    recorded(bundle, "unigram/pieces.trie", whole[: int(share * len(whole))])
    assert f"{bundle / 'unigram/pieces.trie'} is not a trie" in refusal(bundle)


def vocabulary(bundle: Path, pieces: list[str]) -> None:
    """Give tokenizer.json other pieces, so that a trie of these pieces is accepted."""
    raw = json.loads((bundle / "tokenizer.json").read_text("utf-8"))
    raw["model"]["vocab"] = [[piece, 0] for piece in pieces]
    recorded(bundle, "tokenizer.json", json.dumps(raw).encode())


def test_a_trie_of_other_pieces_is_refused(bundle: Path) -> None:
    ids = len(np.load(bundle / "unigram/ids.npy"))
    for pieces, message in (
        ([], "holds no pieces"),
        (["<unk>"], f"holds <i4 ({ids},), expected <i4 (1,)"),
        ([str(i) for i in range(ids)], "names a piece that unigram/pieces.trie lacks: "),
    ):
        trie = marisa_trie.Trie(pieces).tobytes()
        recorded(bundle, "unigram/pieces.trie", trie)
        assert "pieces.trie is not a trie of the pieces in tokenizer.json" in refusal(bundle)
        vocabulary(bundle, pieces)
        assert message in refusal(bundle)


def npy(array: Any) -> bytes:
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("name", ["unigram/ids.npy", "unigram/scores.npy"])
def test_what_is_not_the_array_of_the_pieces_is_refused(bundle: Path, name: str) -> None:
    whole = (bundle / name).read_bytes()
    array = np.load(bundle / name)
    for content in (
        b"", b"junk", whole[:-1], whole[:100], b"\0" * len(whole), npy(np.array([{}], object)),
        npy(array[:-1]), npy(array[None]), npy(array.astype(np.float16)), npy(array.astype(array.dtype.newbyteorder())),
    ):  # fmt: skip
        rewrite(bundle, name, content)
        assert str(bundle / name) in refusal(bundle)


@pytest.mark.parametrize(("name", "value", "message"), [
    ("ids", -1, "has ids outside 0 to"), ("ids", 2**31 - 1, "has ids outside 0 to"),
    ("scores", np.nan, "has scores above 0"), ("scores", np.inf, "has scores above 0"),
])  # fmt: skip
def test_ids_and_scores_out_of_range_are_refused(bundle: Path, name: str, value: float, message: str) -> None:
    array = np.load(bundle / f"unigram/{name}.npy")
    array[len(array) // 2] = value
    rewrite(bundle, f"unigram/{name}.npy", npy(array))
    assert message in refusal(bundle)
