"""A forged trie, even with its hash in the manifest, never reaches the library that would crash on it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from m3rt import BundleError, M3Encoder
from m3rt.bundle import open_bundle
from m3rt.host.files import record
from m3rt.text import tries
from m3rt.text.tokenizer import Tokenizer
from m3rt.text.unigram import TRIE

# Encodes and verifies a bundle with each of many changed tries; a crash ends the process by a signal.
MUTATE = """
import hashlib, json, random, sys
from pathlib import Path
from m3rt import M3Encoder, M3rtError
from m3rt.cli import main
bundle = Path(sys.argv[1])
manifest = json.loads((bundle / "m3rt.json").read_text())
whole = (bundle / "unigram/pieces.trie").read_bytes()
draw = random.Random(int(sys.argv[2]))

def damaged():
    content = bytearray(whole)
    for _ in range(draw.choice([1, 1, 2, 8, 64])):
        content[draw.randrange(len(content))] ^= draw.randrange(1, 256)
    start = draw.randrange(len(content))
    return draw.choice([
        bytes(content), bytes(content[:start]), bytes(content) + b"\\0" * 9,
        bytes(content[:16]) + bytes(len(whole) - 16),
        bytes(content[:start]) + b"\\xff" * 8 + bytes(content[start + 8:]),
    ])

refused = 0
for i in range(60):
    content = damaged()
    (bundle / "unigram/pieces.trie").write_bytes(content)
    manifest["files"]["unigram/pieces.trie"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (bundle / "m3rt.json").write_text(json.dumps(manifest))
    try:
        M3Encoder(bundle, threads=1).encode("The ferry leaves at seven.")
    except M3rtError as error:
        assert chr(10) not in str(error)
        refused += 1
    assert i % 20 or main(["verify", str(bundle)]) == 2
print(refused)
"""


@pytest.fixture
def bundle(bundle_fp32: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bundle_fp32, tmp_path / "bundle")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M3RT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("seed", range(3))
def test_no_change_of_its_bytes_crashes_a_process(seed: int, bundle: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MUTATE, str(bundle), str(seed)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "60\n"), done.stderr[-2000:]


def without_pieces(bundle: Path) -> None:
    """Remove the pieces from tokenizer.json, so that the trie cannot be compared with them."""
    (bundle / "tokenizer.json").write_bytes(b" " * (bundle / "tokenizer.json").stat().st_size)


def test_a_trie_that_was_compared_once_is_known(bundle: Path) -> None:
    Tokenizer.of(open_bundle(bundle))
    without_pieces(bundle)
    Tokenizer.of(open_bundle(bundle))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no owners")
def test_what_others_may_have_noted_counts_for_nothing(bundle: Path, cache: Path) -> None:
    Tokenizer.of(open_bundle(bundle))
    without_pieces(bundle)
    for path in (next((cache / "tries").iterdir()), cache / "tries", cache):
        mode = path.stat().st_mode
        path.chmod(0o777)
        with pytest.raises(BundleError, match=r"has no list of pieces"):
            Tokenizer.of(open_bundle(bundle))
        path.chmod(mode)


def test_a_cache_that_cannot_be_written_is_no_hindrance(bundle: Path, cache: Path) -> None:
    cache.write_bytes(b"")
    assert len(M3Encoder(bundle, threads=1).encode("x")) == 1


def test_the_model_of_the_package_is_known_wherever_it_lies(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tries, "_built", lambda bundle: pytest.fail("built"))
    Tokenizer.of(open_bundle())
    Tokenizer.of(open_bundle(shutil.copytree(open_bundle().path, tmp_path / "copy")))
    assert not cache.exists()


@pytest.mark.parametrize("vocab", [None, [], [1], [[1, 2]], [["a"]], {"a": 1}, [["\ud800", 0]], "abc", [[["a"], 0]]])
def test_a_tokenizer_without_pieces_is_one_line(bundle: Path, vocab: object) -> None:
    raw = json.loads((bundle / "tokenizer.json").read_text("utf-8"))
    raw["model"]["vocab"] = vocab
    (bundle / "tokenizer.json").write_text(json.dumps(raw))
    manifest = json.loads((bundle / "m3rt.json").read_text("utf-8"))
    for name in ("tokenizer.json", TRIE):
        manifest["files"][name] = {"size": record(bundle / name).size, "sha256": record(bundle / name).sha256}
    (bundle / "m3rt.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"has no list of pieces|is not a trie of the pieces") as caught:
        Tokenizer.of(open_bundle(bundle))
    assert "\n" not in str(caught.value)
