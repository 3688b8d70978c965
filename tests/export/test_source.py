"""Where a checkpoint comes from: directories, and a real HTTP server in the Hub's place."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkpoints import write_checkpoint
from hub import serve
from m3rt_export.checkpoint.layout import WEIGHTS, needed_files
from m3rt_export.checkpoint.source import Checkpoint, resolve
from m3rt_export.tensors.reader import open_tensors

from m3rt.errors import CheckpointError, InputError

CONFIGS = {
    "1_Pooling/config.json", "config.json", "config_sentence_transformers.json", "modules.json",
    "sentence_bert_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip
HEADS = {"colbert_linear.pt", "sparse_linear.pt"}
# huggingface_hub reads its settings at import, so each call runs in a process of its own.
SCRIPT = """
import json, sys
from m3rt.errors import M3rtError
from m3rt_export.checkpoint.source import resolve
for request in json.loads(sys.argv[1]):
    try:
        source = resolve(**request)
        print(json.dumps([str(source.path), source.model_id, source.revision]))
    except M3rtError as error:
        print(json.dumps(str(error)))
"""


def run(cache: Path, hub_url: str, *requests: dict[str, Any], offline: bool = False) -> list[Any]:
    """What `resolve` returned, or the message of its error, for each request."""
    settings = {"HF_HOME": str(cache), "HF_ENDPOINT": hub_url, "HF_HUB_OFFLINE": str(int(offline))}
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(requests)], env=kept | settings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A repository with all that BAAI/bge-m3 has beside what is needed."""
    directory = write_checkpoint(tmp_path / "published", vocab=2000)
    for name in ("README.md", "onnx/model.onnx", "onnx/config.json", "imgs/bm25.jpg", "sentencepiece.bpe.model"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(b"not needed")
    return directory


def test_a_directory_is_used_as_it_is(tmp_path: Path) -> None:
    directory = write_checkpoint(tmp_path / "my-m3", vocab=50)
    assert resolve(str(directory)) == Checkpoint(directory, "my-m3", None)


def test_a_directory_needs_no_hub_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert resolve(str(write_checkpoint(tmp_path, vocab=50))).revision is None


def test_a_directory_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        resolve(str(tmp_path))


def test_a_directory_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'v1'"):
        resolve(str(write_checkpoint(tmp_path, vocab=50)), revision="v1")


@pytest.mark.parametrize("source", ["/no/such/dir", "./bge-m3", "a/b/c", "bge m3/x", "../x", "https://hf.co/a/b"])
def test_what_is_neither_directory_nor_id_is_refused(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # beside which there is no folder x
    with pytest.raises(CheckpointError, match="neither a directory nor a Hub id"):
        resolve(source)


def test_a_missing_hub_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r'pip install "m3rt\[export\]"'):
        resolve("org/name")


@pytest.mark.parametrize(("available", "weights"), [
    ({"model.safetensors", "pytorch_model.bin", "model.onnx", "tf_model.h5"}, {"model.safetensors"}),
    ({"pytorch_model.bin", "flax_model.msgpack", "onnx/model.onnx"}, {"pytorch_model.bin"}),
    ({"model.safetensors.index.json", "model-1-of-1.safetensors", "pytorch_model.bin"},
     {"model.safetensors.index.json", "model-1-of-1.safetensors"}),
    ({"pytorch_model.bin.index.json", "pytorch_model-1-of-1.bin", "training_args.bin"},
     {"pytorch_model.bin.index.json", "pytorch_model-1-of-1.bin"}),
])  # fmt: skip
def test_one_set_of_weights_is_needed(available: set[str], weights: set[str]) -> None:
    assert set(needed_files(sorted(available), dense_only=False)) == weights


def test_the_old_layout_of_sentence_transformers_is_fetched_too() -> None:
    wanted = {"modules.json", "config.json", "1_Pooling/config.json",
              *(f"0_Transformer/{name}" for name in ("config.json", "tokenizer.json", "added_tokens.json",
                                                     "sentence_bert_config.json", "pytorch_model.bin"))}  # fmt: skip
    others = {"0_Transformer/vocab.txt", "2_Dense/config.json", "0_Transformer/rust_model.ot", "README.md"}
    assert set(needed_files(sorted(wanted | others), dense_only=False)) == wanted


def test_an_adapter_on_the_hub_is_named_before_weights_are_fetched(tmp_path: Path) -> None:
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "adapter_config.json").write_text('{"base_model_name_or_path": "BAAI/bge-m3"}')
    (tmp_path / "published" / "adapter_model.safetensors").touch()
    with serve(tmp_path / "published") as hub:
        (message,) = run(tmp_path / "cache", hub.url, {"source": "org/name"})
        assert hub.fetched() == ["adapter_config.json"]
    assert "is a LoRA adapter of 'BAAI/bge-m3': merge it first" in message


def test_the_hub_and_a_directory_prefer_the_same_weights() -> None:
    names = [weights.file for weights in WEIGHTS]
    for i, name in enumerate(names):
        assert needed_files(names[i:], dense_only=False) == [name]


def test_heads_are_needed_only_where_they_are_used_and_sentencepiece_never() -> None:
    available = sorted(CONFIGS | HEADS | {"sentencepiece.bpe.model"})
    assert set(needed_files(available, dense_only=False)) == CONFIGS | HEADS
    assert set(needed_files(available, dense_only=True)) == CONFIGS


def test_a_repository_without_a_fast_tokenizer_is_refused_before_its_weights_are_fetched(
    tmp_path: Path, published: Path
) -> None:
    (published / "tokenizer.json").unlink()
    with serve(published) as hub:
        (message,) = run(tmp_path, hub.url, {"source": "org/name"})
        assert "has no tokenizer.json, expected a fast tokenizer" in message
        assert not hub.fetched()


def test_only_needed_files_are_fetched_and_the_revision_is_pinned(tmp_path: Path, published: Path) -> None:
    with serve(published) as hub:
        ((path, model_id, revision),) = run(tmp_path, hub.url, {"source": "org/name", "revision": "v1"})
        assert hub.fetched() == sorted(CONFIGS | HEADS | {"pytorch_model.bin"})
        assert f"GET /org/name/resolve/{hub.commit}/config.json" in hub.log
    assert (model_id, revision) == ("org/name", hub.commit)
    ours, theirs = open_tensors(Path(path)), open_tensors(published)
    assert {name: array.tobytes() for name, array in ours.items()} == {
        name: array.tobytes() for name, array in theirs.items()
    }


def test_a_fetched_checkpoint_resolves_offline_too(tmp_path: Path, published: Path) -> None:
    request = {"source": "org/name", "dense_only": True}
    with serve(published) as hub:
        fetched = run(tmp_path, hub.url, request)
    assert run(tmp_path, hub.url, request, offline=True) == fetched


def test_a_broken_transfer_goes_on_where_it_stopped(tmp_path: Path, published: Path) -> None:
    # huggingface_hub keeps whole chunks of 10 MB, and before 1.0 it takes a second call to go on.
    (published / "pytorch_model.bin").write_bytes(os.urandom(1 << 20) * 15)
    with serve(published, breaks={"pytorch_model.bin": 12 << 20}) as hub:
        _, (path, *_) = run(tmp_path, hub.url, {"source": "org/name"}, {"source": "org/name"})
    assert Path(path, "pytorch_model.bin").read_bytes() == hub.files["pytorch_model.bin"]
    transfers = [line for line in hub.log if line.startswith("GET") and "pytorch_model.bin" in line]
    assert ["bytes=10485760-" in line for line in transfers] == [False, True]


def test_a_second_run_keeps_the_finished_files(tmp_path: Path, published: Path) -> None:
    with serve(published, forbidden={"pytorch_model.bin"}) as hub:
        (message,) = run(tmp_path, hub.url, {"source": "org/name"})
        assert "is gated" in message
        finished = set(hub.fetched())
        hub.forbidden.clear()
        hub.log.clear()
        run(tmp_path, hub.url, {"source": "org/name"})
        assert "pytorch_model.bin" in hub.fetched()
        assert finished
        assert finished.isdisjoint(hub.fetched())


def test_each_failure_of_the_hub_is_one_line_that_says_what_to_do(tmp_path: Path, published: Path) -> None:
    (published / "config.json").unlink()
    requests = [{"source": "org/nope"}, {"source": "org/name", "revision": "v9"}, {"source": "org/name"}]
    with serve(published) as hub:
        messages = run(tmp_path, hub.url, *requests)
    unreachable = run(tmp_path, hub.url, {"source": "org/name"})
    offline = run(tmp_path / "empty", hub.url, {"source": "org/name"}, offline=True)
    expected = ["org/nope is no directory", "org/name at v9 is no known revision", "no config.json", "run again"]
    for message, words in zip([*messages, *unreachable, *offline], [*expected, "HF_HUB_OFFLINE"], strict=True):
        assert words in message
        assert "\n" not in message
