"""The vocabulary in mapped files gives the same ids and texts as Hugging Face's tokenizers, for every text."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences, write_checkpoint, xlm_roberta_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_export import export

from m3rt import M3Encoder
from m3rt.bundle import open_bundle
from m3rt.text.tokenizer import Tokenizer
from m3rt.text.unigram import FILES, LONGEST_PIECE, TRIE, Unigram

fuzz = settings(max_examples=500)

PIECES = sorted(xlm_roberta_tokenizer().get_vocab())
SPECIAL = ["<s>", "</s>", "<pad>", "<unk>", "<mask>", " <mask> ", "＜unk＞", "＜mask＞", "<mas", "k>"]
MARKS = [
    "\u0301", "\u200d", "\ufe0f", "👩‍👩‍👧", "🇫🇷", "ḍ̇", "가", "ﷺ", "ﬁ", "㍿", "東京", "▁",
    "\u3000", "\0", "\t\n", "\u200b", "\x1f",
]  # fmt: skip
FRAGMENTS = st.sampled_from([*PIECES, *SPECIAL, *MARKS, " ", "  "])
UNKNOWN = st.text(st.characters(categories=["Co", "Cn", "So"]), max_size=6)
TEXTS = st.text() | st.lists(FRAGMENTS | UNKNOWN | st.text(max_size=4), max_size=40).map("".join)


@pytest.fixture(scope="module")
def unigram(bundle_fp32: Path) -> Unigram:
    return Unigram(bundle_fp32, (bundle_fp32 / TRIE).read_bytes())


def expected(text: str) -> list[int]:
    ids: list[int] = xlm_roberta_tokenizer().encode(text).ids
    return ids


# ---- the same ids


@given(TEXTS)
@fuzz
def test_every_text_has_the_ids_of_tokenizers(unigram: Unigram, text: str) -> None:
    assert unigram.ids([text]) == [expected(text)]


def test_every_character_alone_has_the_ids_of_tokenizers(unigram: Unigram) -> None:
    characters = [chr(c) for c in range(0x30000) if not 0xD800 <= c < 0xE000]
    rows = [e.ids for e in xlm_roberta_tokenizer().encode_batch(characters)]
    assert unigram.ids(characters) == rows


@given(st.lists(FRAGMENTS.filter(str.strip) | UNKNOWN, min_size=20, max_size=60).map("".join), st.integers(1, 30))
@settings(fuzz, max_examples=60)
def test_long_words_have_the_ids_of_tokenizers(unigram: Unigram, word: str, times: int) -> None:
    assert unigram.ids([word * times]) == [expected(word * times)]


@pytest.mark.parametrize("word", ["東京タワー" * 20_000, "x" * 100_000, "\u20bf\U000f0000" * 50_000])
def test_words_of_100_000_characters_have_the_ids_of_tokenizers(unigram: Unigram, word: str) -> None:
    assert unigram.ids([word]) == [expected(word)]


def test_runs_of_unknown_characters_are_one_token(unigram: Unigram) -> None:
    assert unigram.ids(["\U000f0000" * 9 + " \U000f0001\U000f0002"])[0].count(3) == 2


def test_a_word_seen_before_has_the_same_ids(unigram: Unigram) -> None:
    assert unigram.ids(sentences()) == unigram.ids(sentences()) == [expected(text) for text in sentences()]


def test_many_threads_get_the_ids_of_one(bundle_fp32: Path) -> None:
    unigram = Unigram(bundle_fp32, (bundle_fp32 / TRIE).read_bytes())
    with ThreadPoolExecutor(8) as pool:
        for rows in pool.map(unigram.ids, [sentences()] * 32):
            assert rows == [expected(text) for text in sentences()]


def test_an_encoder_feeds_its_model_the_ids_of_tokenizers(fp32: M3Encoder) -> None:
    cut = [text for text in sentences() if len(expected(text)) <= 128]
    assert [fp32.tokenize(text) for text in cut] == [expected(text) for text in cut]


def test_every_id_has_the_text_of_tokenizers(unigram: Unigram) -> None:
    decode = xlm_roberta_tokenizer().decode
    for token in range(len(PIECES) + 2):
        assert unigram.decode([token]) == decode([token], skip_special_tokens=False)


# ---- which bundles have it


def test_a_bundle_with_unigram_files_reads_no_tokenizer_json(bundle_fp32: Path, tmp_path: Path) -> None:
    bundle = open_bundle(shutil.copytree(bundle_fp32, tmp_path / "bundle"))
    assert set(FILES) <= set(bundle.manifest.files)
    Tokenizer.of(bundle)  # compares the trie with tokenizer.json for the first time
    (bundle.path / "tokenizer.json").write_bytes(b"\0" * bundle.manifest.files["tokenizer.json"].size)
    text = sentences()[0]
    assert Tokenizer.of(bundle).encode([text], 128).ids.tolist() == expected(text)


def test_a_wordpiece_bundle_has_no_unigram_folder_and_works(tmp_path: Path) -> None:
    bundle = export(write_checkpoint(tmp_path / "bert", kind="bert"), tmp_path / "bundle", dense_only=True)
    assert not (bundle.path / "unigram").exists()
    assert not set(FILES) & set(bundle.manifest.files)
    assert np.isfinite(M3Encoder(bundle.path, threads=1).encode("The ferry").dense_vecs).all()


def byte_fallback(raw: dict[str, Any]) -> None:
    raw["model"]["byte_fallback"] = True


def repeated_piece(raw: dict[str, Any]) -> None:
    raw["model"]["vocab"][50][0] = raw["model"]["vocab"][51][0]


def long_piece(raw: dict[str, Any]) -> None:
    raw["model"]["vocab"][50][0] = "a" * (LONGEST_PIECE + 1)


def positive_score(raw: dict[str, Any]) -> None:
    raw["model"]["vocab"][50][1] = 0.5


def token_outside_the_vocabulary(raw: dict[str, Any]) -> None:
    raw["added_tokens"][-1]["content"] = "<other>"


def no_dropped_space(raw: dict[str, Any]) -> None:
    raw["added_tokens"][3]["lstrip"] = True


def another_template(raw: dict[str, Any]) -> None:
    raw["post_processor"]["single"].append(raw["post_processor"]["single"][-1])
    raw["post_processor"]["single"].insert(0, raw["post_processor"]["single"].pop(1))


@pytest.mark.parametrize("change", [
    byte_fallback, repeated_piece, long_piece, positive_score, token_outside_the_vocabulary, no_dropped_space,
    another_template,
])  # fmt: skip
def test_a_tokenizer_that_might_differ_is_left_to_hugging_face(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    raw = json.loads(xlm_roberta_tokenizer().to_str())
    assert files_written(tmp_path / "plain", raw) == set(FILES)
    change(raw)
    assert files_written(tmp_path / "changed", raw) == set()


def files_written(directory: Path, raw: dict[str, Any]) -> set[str]:
    from m3rt_export.checkpoint.config import read_config
    from m3rt_export.tokenizer_files import write_tokenizer

    source = write_checkpoint(directory / "source", vocab=2000)
    (source / "tokenizer.json").write_text(json.dumps(raw), "utf-8")
    config = read_config(source, "tiny")
    (directory / "out").mkdir()
    write_tokenizer(source, directory / "out", config)
    written = {path.relative_to(directory / "out").as_posix() for path in (directory / "out").rglob("*.*")}
    return written - {"tokenizer.json"}
