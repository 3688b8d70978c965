"""A bundle from a stranger is data: whatever its files hold, it works or is refused in one line, also by verify."""

import json
import math
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from own_lines import own_lines

from m3rt import M3Encoder, M3rtError
from m3rt.bundle import check_hashes, open_bundle
from m3rt.bundle.golden import check
from m3rt.cli import main

JSON = ("m3rt.json", "golden.json", "tokenizer.json", "unigram/pipeline.json")
NUMBER = 10**399
DEEP: Any = 0
for _ in range(400):
    DEEP = [DEEP]
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**63, NUMBER, 0.5, float("nan"), float("inf"), "", "x", "\x1b[2J\n\u202e",
    "a" * 100_000, "\ud800", [], {}, [[]], [None], [1, "a"], {"x": {}}, DEEP, {"a": DEEP}, [0] * 1000,
]  # fmt: skip


@pytest.fixture
def bundle(bundle_fp32: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bundle_fp32, tmp_path / "bundle")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use an empty cache, in which no trie is known."""
    monkeypatch.setenv("M3RT_CACHE", str(tmp_path / "cache"))


def write(bundle: Path, name: str, content: bytes) -> None:
    """Replace a file and its record in the manifest, as an attacker would."""
    (bundle / name).write_bytes(content)
    if name != "m3rt.json":
        manifest = json.loads((bundle / "m3rt.json").read_bytes())
        manifest["files"][name] = {"size": len(content), "sha256": sha256(content).hexdigest()}
        (bundle / "m3rt.json").write_text(json.dumps(manifest))


def used(bundle: Path) -> str | None:
    """Open, verify and encode; return the one line of a refusal, or None."""
    try:
        opened = open_bundle(bundle)
        check_hashes(opened)
        model = M3Encoder(bundle, threads=1)
        model.encode(["The ferry leaves at seven.", ""], return_sparse=model.manifest.kind == "m3")
        check(model, opened)
    except M3rtError as error:
        message = str(error)
        assert message.isprintable() and len(message) < 1500, message[:3000]  # noqa: PT018
        return message
    return None


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a JSON value; of long lists only the first and the last two."""
    yield path
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        for key in keys if len(keys) < 8 else [*keys[:2], *keys[-2:]]:
            yield from places(value[key], (*path, key))


def changed(raw: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    copy = json.loads(json.dumps(raw))
    place = copy
    for key in path[:-1]:
        place = place[key]
    change(place, path[-1])
    return copy


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def mutations(raw: Any, count: int) -> Iterator[bytes]:
    draw = Random(0)
    every = [path for path in places(raw) if path]
    whole = dumped(raw)
    yield from (whole[: draw.randrange(len(whole))] for _ in range(3))
    yield from (dumped(value) for value in VALUES)
    for _ in range(count):
        path, value = draw.choice(every), draw.choice(VALUES)
        if draw.random() < 0.2:
            yield dumped(changed(raw, path, lambda place, key: place.pop(key)))
        else:
            yield dumped(changed(raw, path, lambda place, key, value=value: place.__setitem__(key, value)))


@pytest.mark.parametrize("name", JSON)
def test_any_value_anywhere_in_its_json_works_or_is_one_line(
    name: str, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    original, manifest = (bundle / name).read_bytes(), (bundle / "m3rt.json").read_bytes()
    for content in mutations(json.loads(original), 150 if name == "m3rt.json" else 50):
        write(bundle, name, content)
        refused = used(bundle)
        assert main(["info", str(bundle)]) in (0, 2), refused
        (bundle / name).write_bytes(original)
        (bundle / "m3rt.json").write_bytes(manifest)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("value", VALUES, ids=lambda v: f"{v!r:.20}")
@pytest.mark.parametrize("key", ["fidelity", "architecture", "m3rt_version", "format_version", "max_tokens"])
def test_info_and_verify_end_with_a_status_and_a_line(
    key: str, value: Any, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = json.loads((bundle / "m3rt.json").read_bytes())
    (bundle / "m3rt.json").write_bytes(dumped(raw | {key: value}))
    for arguments in (["info"], ["info", "--json"], ["verify"]):
        status = main([*arguments, str(bundle)])
        err = capfd.readouterr().err
        assert status == 0 or (status == 2 and err.startswith("m3rt: error: ") and err.count("\n") == 1), (status, err)
        assert "\x1b" not in err
        assert len(err) < 2000


VERSIONS = [
    "$(reboot)",
    "1; rm -rf ~",
    "9" * 100_000,
    "1.0\x1b[2J",
    "1.0 --index-url http://x",
    "",
    None,
    ["1"],
    7,
    "1..2",
]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"{v!r:.20}")
def test_advice_repeats_only_what_is_a_version(version: Any, bundle: Path) -> None:
    raw = json.loads((bundle / "m3rt.json").read_bytes())
    (bundle / "m3rt.json").write_bytes(dumped(raw | {"format_version": 2, "m3rt_version": version}))
    message = used(bundle)
    assert message
    assert message.endswith("run: pip install --upgrade m3rt")


@pytest.mark.parametrize("version", ["0.1.0", "10.20.30", "2.0rc1", "2.0.0.post1", "3"])
def test_advice_names_the_version_that_reads_the_bundle(version: str, bundle: Path) -> None:
    raw = json.loads((bundle / "m3rt.json").read_bytes())
    (bundle / "m3rt.json").write_bytes(dumped(raw | {"format_version": 2, "m3rt_version": version}))
    assert str(used(bundle)).endswith(f'run: pip install "m3rt>={version}"')


# ---- no regular files


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def hole(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(64 << 30)


def folder(path: Path) -> None:
    path.mkdir()


def unix_socket(path: Path) -> None:
    place = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(place)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", [fifo, device, hole, folder, unix_socket])
@pytest.mark.parametrize("name", ["m3rt.json", "tokenizer.json", "golden.json", "unigram/pieces.trie", "model.onnx"])
@pytest.mark.parametrize("recorded", [False, True], ids=["its-old-size", "its-own-size"])
def test_what_is_no_file_of_a_sensible_size_is_refused_at_once(
    kind: Callable[[Path], None], name: str, recorded: bool, bundle: Path
) -> None:
    path = bundle / name
    path.unlink()
    kind(path)
    if recorded and name != "m3rt.json":
        raw = json.loads((bundle / "m3rt.json").read_bytes())
        raw["files"][name]["size"] = path.stat().st_size
        (bundle / "m3rt.json").write_bytes(dumped(raw))
    with pytest.raises(M3rtError) as caught:
        check(M3Encoder(bundle, threads=1), open_bundle(bundle))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- tokenizers


def broken_regex(raw: dict[str, Any]) -> None:
    raw["normalizer"] = {"type": "Replace", "pattern": {"Regex": "(a|aa)+$"}, "content": "x"}


def broken_map(raw: dict[str, Any]) -> None:
    raw["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}


def no_unknown_piece(raw: dict[str, Any]) -> None:
    raw["model"]["unk_id"] = None


ENCODE = """
import sys
from m3rt.cli import main
sys.exit(main(["encode", "-m", sys.argv[1], "\\U0001f4a9 " + "a" * 60 + "b"]))
"""


@pytest.mark.parametrize("change", [broken_regex, broken_map, no_unknown_piece])
@pytest.mark.parametrize("name", ["tokenizer.json", "unigram/pipeline.json"])
def test_what_tokenizers_raises_is_one_line_and_its_panics_too(
    name: str, change: Callable[[dict[str, Any]], None], bundle: Path
) -> None:
    raw = json.loads((bundle / name).read_bytes())
    change(raw)
    write(bundle, name, dumped(raw))
    if name == "tokenizer.json":
        manifest = json.loads((bundle / "m3rt.json").read_bytes())
        manifest["files"] = {n: r for n, r in manifest["files"].items() if not n.startswith("unigram/")}
        (bundle / "m3rt.json").write_bytes(dumped(manifest))
    environment = {**os.environ, "RUST_BACKTRACE": "full"}
    done = subprocess.run([sys.executable, "-c", ENCODE, str(bundle)], capture_output=True, text=True, env=environment)
    told = own_lines(done.stderr)
    assert (done.returncode, done.stdout, told.count("\n")) == (2, "", 1), told[:2000]
    assert told.startswith(f"m3rt: error: {bundle / name} ")


def test_a_pipeline_of_more_pieces_is_one_line(bundle: Path) -> None:
    """With more pieces the pipeline's tokens differ from the words."""
    raw = json.loads((bundle / "unigram/pipeline.json").read_bytes())
    raw["model"]["vocab"].append(["a", -1.0])
    write(bundle, "unigram/pipeline.json", dumped(raw))
    assert "pipeline.json cannot tokenize a text" in str(used(bundle))


# ---- graphs


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(("kind", "shape"), [
    (TensorProto.INT64, [2, 32]), (TensorProto.FLOAT, [2]), (TensorProto.FLOAT, [2, 31]),
    (TensorProto.FLOAT, [2, 1, 32]), (TensorProto.DOUBLE, [2, 32]), (TensorProto.FLOAT, []),
])  # fmt: skip
def test_a_graph_of_other_outputs_than_promised_is_one_line(
    engine: str, kind: int, shape: list[int], bundle: Path
) -> None:
    raw = json.loads((bundle / "m3rt.json").read_bytes())
    name = raw["graph"]["files"][engine]
    model = onnx.load(bundle / name, load_external_data=False)
    inputs = [helper.make_tensor_value_info(i.name, *_of(i)) for i in model.graph.input]
    ports = {"dense_vecs": (kind, shape), "token_weights": (1, [2, 2]), "colbert_vecs": (1, [2, 1, 32])}
    count = {key: math.prod(shape) for key, (_, shape) in ports.items()}
    nodes = [
        helper.make_node("Constant", [], [key], value=helper.make_tensor(key, k, s, [1] * count[key]))
        for key, (k, s) in ports.items()
    ]
    outputs = [helper.make_tensor_value_info(key, k, s) for key, (k, s) in ports.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    write(bundle, name, built.SerializeToString())
    with pytest.raises(M3rtError) as caught:
        M3Encoder(bundle, engine=engine, threads=1).encode(["", ""])
    assert "\n" not in str(caught.value)
    assert "dense_vecs" in str(caught.value)


def _of(value: Any) -> tuple[int, list[str | int]]:
    tensor = value.type.tensor_type
    return tensor.elem_type, [d.dim_param or d.dim_value for d in tensor.shape.dim]
