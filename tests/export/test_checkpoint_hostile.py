"""Checkpoints that are something else, damaged or hostile: one line of CheckpointError, no wait, nothing on stderr."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from checkpoints import write_checkpoint, write_json
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_export import export
from m3rt_export.checkpoint.config import read_config
from m3rt_export.tokenizer_files import write_tokenizer
from own_lines import own_lines
from rights import becomes_nobody

from m3rt import CheckpointError

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258da\nsize 2\n"
)
CONFIGS = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "modules.json",
    "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json",
)  # fmt: skip
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "sparse_linear.pt", "colbert_linear.pt")


def refusal(directory: Path, source: Path | str) -> str:
    """The one line of the error that an export into `directory` ends with; it leaves nothing there."""
    before = sorted(directory.iterdir())
    with pytest.raises(CheckpointError) as caught:
        export(source, directory / "bundle", precision="fp32")
    message = str(caught.value)
    assert sorted(directory.iterdir()) == before
    assert message.isprintable()
    assert len(message) < 700
    assert "partial" not in message
    return message


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "checkpoint", format="safetensors")


# ---- something else


@pytest.mark.parametrize("also", [(), ("config.json", "model.safetensors")])
def test_an_adapter_is_told_to_be_merged(tmp_path: Path, also: tuple[str, ...]) -> None:
    write_json(tmp_path / "lora" / "adapter_config.json", {"base_model_name_or_path": "BAAI/bge-m3", "r": 8})
    for name in also:
        (tmp_path / "lora" / name).write_bytes(b"{}")
    message = refusal(tmp_path, tmp_path / "lora")
    assert "is a LoRA adapter of 'BAAI/bge-m3': merge it first with peft" in message


@pytest.mark.parametrize("base", ["\x1b]0;x\a" * 999, "a" * 10**5, {"x": [1]}, None, 10**300, "\u202eevil"])
def test_advice_that_quotes_a_file_is_short_and_printable(tmp_path: Path, base: Any) -> None:
    write_json(tmp_path / "lora" / "adapter_config.json", {"base_model_name_or_path": base})
    assert "is a LoRA adapter of" in refusal(tmp_path, tmp_path / "lora")


@pytest.mark.parametrize("name", [*CONFIGS[:3], CONFIGS[4], *WEIGHTS])
def test_a_git_lfs_pointer_asks_for_git_lfs_pull(tmp_path: Path, name: str) -> None:
    format_ = "bin" if name == "pytorch_model.bin" else "safetensors"
    checkpoint = write_checkpoint(tmp_path / "checkpoint", format=format_)
    (checkpoint / name).write_bytes(POINTER)
    message = refusal(tmp_path, checkpoint)
    assert message.startswith(f"{checkpoint / name} is a Git LFS pointer: run `git lfs pull`")


def test_a_pointer_in_place_of_an_index_asks_for_git_lfs_pull(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", format="sharded")
    (checkpoint / "model.safetensors.index.json").write_bytes(POINTER)
    assert "is a Git LFS pointer: run `git lfs pull`" in refusal(tmp_path, checkpoint)


@pytest.mark.parametrize("name", ["sentencepiece.bpe.model", "vocab.txt", "tokenizer.model"])
def test_a_slow_tokenizer_says_how_to_make_a_fast_one(tmp_path: Path, broken: Path, name: str) -> None:
    (broken / "tokenizer.json").unlink()
    (broken / name).touch()
    message = refusal(tmp_path, broken)
    assert f"has no tokenizer.json but only {name}; make it with transformers: AutoTokenizer" in message


@pytest.mark.parametrize(("name", "words"), [
    ("bge-m3.Q8_0.gguf", "a GGUF file of llama.cpp ('bge-m3.Q8_0.gguf')"), ("model.onnx", "an ONNX graph"),
    ("tf_model.h5", "weights of TensorFlow"), ("flax_model.msgpack", "weights of Flax"),
    ("m3rt.json", "is a bundle already"), ("README.md", "has no config.json, expected"),
    (None, "is empty: no config.json"),
])  # fmt: skip
def test_a_directory_of_another_kind_is_named(tmp_path: Path, name: str | None, words: str) -> None:
    (tmp_path / "source").mkdir()
    if name:
        (tmp_path / "source" / name).touch()
    assert words in refusal(tmp_path, tmp_path / "source")


@pytest.mark.parametrize("name", ["model.safetensors", "bge-m3.gguf", "config.json"])
def test_a_file_is_no_checkpoint(tmp_path: Path, broken: Path, name: str) -> None:
    (broken / name).touch()
    assert "is a file, expected the directory of a checkpoint" in refusal(tmp_path, broken / name)


# ---- no regular file, or too large


@pytest.mark.parametrize("name", [*CONFIGS, "pytorch_model.bin", "model.safetensors", "sparse_linear.pt", "index"])
@pytest.mark.parametrize("kind", ["fifo", "device", "hole", "directory", "dangling"])
def test_what_is_no_plain_file_is_refused_without_waiting(tmp_path: Path, name: str, kind: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", format="sharded" if name == "index" else "bin")
    path = checkpoint / ("model.safetensors.index.json" if name == "index" else name)
    (checkpoint / "pytorch_model.bin").rename(tmp_path / "weights") if name == "model.safetensors" else None
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "hole":
        path.touch()
        os.truncate(path, 64 << 30)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "nowhere")
    refusal(tmp_path, checkpoint)


def test_a_huge_file_that_is_not_read_is_not_hashed(tmp_path: Path, broken: Path) -> None:
    (broken / "notes.json").touch()
    os.truncate(broken / "notes.json", 64 << 30)
    os.mkfifo(broken / "pipe.json")
    files = export(broken, tmp_path / "bundle", precision="fp32").manifest.source.files
    assert not {"notes.json", "pipe.json"} & set(files)


# ---- any value anywhere

DEEP: Any = 1
for _ in range(900):
    DEEP = [DEEP]
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 5, 2**31, 10**30, 10**400, 0.5, float("nan"), float("inf"), "", "x", "\x1b[2J\u202e",
    "\ud800", "a" * 9999, [], [1], ["x"], {}, {"content": 1}, {"content": "<pad>"}, DEEP,
    {"type": DEEP}, {"\x1b[2J\u202e": 1}, {"x" * 9999: 1},
    "sentence_transformers.models.\x1b[2J", ["Transformer"] * 999,
]  # fmt: skip


# What checkpoints may hold beside what these have.
MORE: dict[str, Any] = {
    "config.json": {"matryoshka_dimensions": [8], "_name_or_path": "x", "auto_map": None, "tokenizer_class": None},
    "tokenizer_config.json": {
        "added_tokens_decoder": {"0": {"content": "<s>", "special": True}, "4": {"content": "new", "lstrip": False}},
        "additional_special_tokens": ["<s>"], "strip_accents": None, "padding_side": "right",
        "extra_special_tokens": {},
    },
    "1_Pooling/config.json": {"pooling_mode": ["cls"], "include_prompt": True},
    "config_sentence_transformers.json": {"prompts": {"query": "q"}, "default_prompt_name": None, "model_type": None},
    "sentence_bert_config.json": {"model_args": {"dtype": "float32"}, "transformer_task": "feature-extraction"},
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if key not in ("vocab", "precompiled_charsmap"):
            yield from places(inner, (*path, key))


def mutated(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = mutated(copy[path[0]], path[1:], new)
    return copy


def outcome(checkpoint: Path, directory: Path | None = None) -> str:
    """ "" for success or the one line of the error."""
    try:
        config = read_config(checkpoint, "x")
        if directory:
            write_tokenizer(checkpoint, directory, config)
    except CheckpointError as error:
        return str(error)
    return ""


def is_line(message: str) -> bool:
    return message.isprintable() and len(message) < 700


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "tokenizer.json"])
@pytest.mark.parametrize("kind", ["m3", "bert"])
def test_any_value_at_any_place_of_a_config_is_one_line_or_success(tmp_path: Path, name: str, kind: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind=kind, layers=1)
    whole = json.loads((checkpoint / name).read_text("utf-8"))
    if name in MORE:
        whole |= MORE[name]
    for path in places(whole):
        for value in VALUES:
            (checkpoint / name).write_text(json.dumps(mutated(whole, path, value)), "utf-8")
            assert is_line(outcome(checkpoint)), (path, value)


@given(st.data())
@settings(max_examples=100)
@pytest.mark.parametrize("kind", ["m3", "bert"])
def test_any_value_at_any_place_of_a_tokenizer_is_one_line_or_success(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    checkpoint = write_checkpoint(tmp_path_factory.getbasetemp() / f"mutated-{kind}", kind=kind, layers=1)
    whole = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    path = data.draw(st.sampled_from([*places(whole), ("model", "vocab")]))
    changed = mutated(whole, path, data.draw(st.sampled_from(VALUES)))
    (checkpoint / "tokenizer.json").write_text(json.dumps(changed), "utf-8")
    assert is_line(outcome(checkpoint, tmp_path_factory.mktemp("bundle")))


@pytest.mark.parametrize("text", [
    '{"model_type": "bert", "model_type": 7}', '{"a": 1' + "0" * 5000 + "}", "[" * 100_000,
    '{"a":' * 900 + "1" + "}" * 900,
    '"x"', "7", "null", "", "\ufeff{}", "{'a': 1}", '{"layer_norm_eps": NaN}', '{"layer_norm_eps": -Infinity}',
])  # fmt: skip
@pytest.mark.parametrize("name", CONFIGS)
def test_odd_json_is_one_line_or_success(tmp_path: Path, broken: Path, name: str, text: str) -> None:
    (broken / name).write_text(text, "utf-8")
    (tmp_path / "bundle").mkdir()
    assert is_line(outcome(broken, tmp_path / "bundle"))


# ---- the tokenizers library


def hostile_tokenizer(checkpoint: Path, **parts: Any) -> None:
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    write_json(checkpoint / "tokenizer.json", tokenizer | parts)


PANIC = {"type": "Split", "pattern": {"Regex": "(.+)+(.+)+(.+)+$(?!)"}, "behavior": "Isolated", "invert": False}


def test_a_panic_of_the_library_is_one_line_and_prints_nothing(
    tmp_path: Path, broken: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hostile_tokenizer(broken, pre_tokenizer=PANIC)
    message = refusal(tmp_path, broken)
    assert message.startswith(
        f"{broken / 'tokenizer.json'} is not a tokenizer file that the tokenizers library can use"
    )
    assert "retry-limit-in-match over" in message
    assert capfd.readouterr().err == ""


def test_a_tokenizer_without_an_unknown_token_is_refused(tmp_path: Path, broken: Path) -> None:
    model = json.loads((broken / "tokenizer.json").read_text("utf-8"))["model"]
    hostile_tokenizer(broken, model=model | {"unk_id": None})
    assert f"{broken / 'tokenizer.json'} is not a tokenizer file" in refusal(tmp_path, broken)


@pytest.mark.parametrize("parts", [
    {"model": {"type": "Nothing"}}, {"pre_tokenizer": {"type": "Split"}}, {"normalizer": {"type": "Precompiled"}},
    {"version": "9"}, {"post_processor": None},
    {"pre_tokenizer": {**PANIC, "pattern": {"Regex": "("}}}, {"normalizer": {"type": "Prepend", "prepend": 1}},
])  # fmt: skip
def test_a_bad_tokenizer_is_named_by_the_checkpoints_path(tmp_path: Path, broken: Path, parts: dict[str, Any]) -> None:
    hostile_tokenizer(broken, **parts)
    assert refusal(tmp_path, broken).startswith(str(broken / "tokenizer.json"))


def test_the_cli_shows_one_line_for_a_panic(tmp_path: Path, broken: Path) -> None:
    hostile_tokenizer(broken, pre_tokenizer=PANIC)
    command = [sys.executable, "-m", "m3rt", "export", str(broken), str(tmp_path / "bundle")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.replace("\r", "\n").strip().splitlines()[-1]) < 700
    assert "panicked" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited so on Linux only")
@pytest.mark.parametrize("room", [8, 40, 100])
def test_too_little_address_space_is_one_line(tmp_path: Path, broken: Path, room: int) -> None:
    script = """
import resource, sys
from pathlib import Path
from tempfile import TemporaryDirectory
import m3rt_export.exporter
from m3rt import OutputError
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limits = (used + (int(sys.argv[3]) << 20),) * 2
resource.setrlimit(resource.RLIMIT_AS, limits)
if resource.getrlimit(resource.RLIMIT_AS) != limits:
    sys.exit("not limited")
try:
    m3rt_export.export(*sys.argv[1:3])
except OutputError as error:
    print(error)
"""
    command = [sys.executable, "-c", script, str(broken), str(tmp_path / "bundle"), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.stderr == "not limited\n":
        pytest.skip("this system does not limit address space, as qemu's user mode does not")
    assert (done.returncode, own_lines(done.stderr)) == (0, "")
    assert "MiB of address space, expected" in done.stdout
    assert len(done.stdout.splitlines()) == 1


@becomes_nobody
@pytest.mark.parametrize("name", ["", "config.json", "1_Pooling", "1_Pooling/config.json", "tokenizer.json"])
def test_what_may_not_be_read_is_named(name: str) -> None:
    script = """
import os, sys
import filelock, m3rt_export.exporter
from m3rt import CheckpointError
os.setuid(65534)
try:
    m3rt_export.export(*sys.argv[1:], precision="fp32")
except CheckpointError as error:
    print(error)
"""
    with TemporaryDirectory() as directory:  # not pytest's own, which nobody else may enter
        os.chmod(directory, 0o777)
        checkpoint = write_checkpoint(Path(directory, "checkpoint"))
        os.chmod(checkpoint / name, 0)
        command = [sys.executable, "-c", script, str(checkpoint), f"{directory}/bundle"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        os.chmod(checkpoint / name, 0o755)
    assert (done.returncode, own_lines(done.stderr)) == (0, "")
    assert "cannot be read: Permission denied" in done.stdout
