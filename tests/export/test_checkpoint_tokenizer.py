"""The ids of a bundle are those of transformers, whose settings beside tokenizer.json change the tokenizer."""

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import sentences, write_checkpoint, write_json
from m3rt_export.checkpoint.config import read_config
from m3rt_export.tokenizer_files import write_tokenizer

from m3rt import CheckpointError
from m3rt.bundle.manifest import TOKENIZER
from m3rt.text.tokenizer import Tokenizer
from m3rt.text.unigram import TRIE

CONFIG, SETTINGS, MAP = "tokenizer_config.json", "sentence_bert_config.json", "special_tokens_map.json"
FLAGS = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
TEXTS = [
    *sentences()[::9], "STRASSE straße ÀÉÎ Ünïcödé", "東京タワー", "", "ΑΣ İstanbul", "x <mask> [MASK] <new> <NEW> y",
    "  <mask>  and  <new>  ", "<pad> </s> <s> [PAD] [CLS]",
]  # fmt: skip


def edit(path: Path, **values: Any) -> None:
    write_json(path, (json.loads(path.read_text("utf-8")) if path.exists() else {}) | values)


def remove(path: Path, *keys: str) -> None:
    write_json(path, {k: v for k, v in json.loads(path.read_text("utf-8")).items() if k not in keys})


def edit_tokenizer(checkpoint: Path, part: str, **values: Any) -> None:
    tokenizer = json.loads((checkpoint / TOKENIZER).read_text("utf-8"))
    edit(checkpoint / TOKENIZER, **{part: tokenizer[part] | values})


def written(checkpoint: Path) -> Tokenizer:
    """The tokenizer that a bundle of the checkpoint gets."""
    directory = checkpoint.with_name(f"{checkpoint.name}-bundle")
    directory.mkdir()
    config = read_config(checkpoint, checkpoint.name)
    write_tokenizer(checkpoint, directory, config)
    trie = directory / TRIE
    return Tokenizer(directory / TOKENIZER, config.special_tokens, trie=trie.read_bytes() if trie.exists() else None)


def ids(checkpoint: Path, texts: list[str] = TEXTS) -> list[list[int]]:
    tokens = written(checkpoint).encode(texts, 512)
    bounds = zip(tokens.offsets, tokens.offsets[1:], strict=False)
    return [tokens.ids[start:end].tolist() for start, end in bounds]


def refusal(checkpoint: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        written(checkpoint)
    assert "\n" not in str(caught.value)
    assert f"{checkpoint.name}-bundle" not in str(caught.value)
    return str(caught.value)


def pair(tmp_path: Path, kind: str) -> tuple[Path, Path]:
    return write_checkpoint(tmp_path / "a", kind=kind), write_checkpoint(tmp_path / "b", kind=kind)


# ---- BERT's normalizer


NORMALIZER = {
    "do_lower_case": ("lowercase", False),
    "strip_accents": ("strip_accents", False),
    "tokenize_chinese_chars": ("handle_chinese_chars", False),
}


@pytest.mark.parametrize("setting", NORMALIZER)
@pytest.mark.parametrize("name", ["BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", None])
def test_the_normalizer_of_bert_is_that_of_tokenizer_config(tmp_path: Path, setting: str, name: str | None) -> None:
    field, value = NORMALIZER[setting]
    told, built = pair(tmp_path, "bert")
    edit(told / CONFIG, **{setting: value, "tokenizer_class": name})
    edit_tokenizer(built, "normalizer", **{field: value})
    edit(built / CONFIG, tokenizer_class="PreTrainedTokenizerFast")  # which changes nothing
    assert ids(told) == ids(built)
    assert json.loads((tmp_path / "a-bundle" / TOKENIZER).read_text("utf-8"))["normalizer"][field] is value


def test_what_tokenizer_config_does_not_say_of_bert_is_transformers_default(tmp_path: Path) -> None:
    told, built = pair(tmp_path, "bert")
    edit_tokenizer(told, "normalizer", lowercase=False, strip_accents=False, handle_chinese_chars=False)
    remove(told / CONFIG, "do_lower_case")
    assert ids(told) == ids(built)


@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "XLMRobertaTokenizer"])
def test_other_kinds_leave_the_normalizer_alone(tmp_path: Path, name: str) -> None:
    told, built = pair(tmp_path, "bert")
    edit(told / CONFIG, tokenizer_class=name, do_lower_case=False)
    edit(built / CONFIG, tokenizer_class="PreTrainedTokenizerFast")
    assert ids(told) == ids(built)


def test_bert_without_a_normalizer_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "a", kind="bert")
    edit(checkpoint / TOKENIZER, normalizer=None)
    assert "has no normalizer, expected BertNormalizer" in refusal(checkpoint)


# ---- lower-casing of Sentence Transformers


@pytest.mark.parametrize("kind", ["dense", "bert"])
def test_texts_are_lower_cased_where_sentence_transformers_does(tmp_path: Path, kind: str) -> None:
    lowered, plain = pair(tmp_path, kind)
    for checkpoint in (lowered, plain):
        edit(checkpoint / CONFIG, do_lower_case=False)
    edit(lowered / SETTINGS, do_lower_case=True)
    texts = [*sentences(), "STRASSE ÀÉÎ", "Привет МИР", "İSTANBUL", "x <mask> Y", ""]
    assert ids(lowered, texts) == ids(plain, [text.lower() for text in texts])


def test_a_tokenizer_that_lowers_already_is_left_alone(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "a", kind="dense")
    tokenizer = json.loads((checkpoint / TOKENIZER).read_text("utf-8"))
    before = {"type": "Sequence", "normalizers": [*tokenizer["normalizer"]["normalizers"], {"type": "Lowercase"}]}
    edit(checkpoint / TOKENIZER, normalizer=before)
    edit(checkpoint / SETTINGS, do_lower_case=True)
    written(checkpoint)
    assert json.loads((tmp_path / "a-bundle" / TOKENIZER).read_text("utf-8"))["normalizer"] == before


# ---- added tokens


def next_id(checkpoint: Path) -> int:
    return 1 + max(t["id"] for t in json.loads((checkpoint / TOKENIZER).read_text("utf-8"))["added_tokens"])


def grown(tmp_path: Path) -> tuple[Path, int]:
    """A checkpoint with room for more tokens, and the first free id."""
    checkpoint = write_checkpoint(tmp_path / "a", kind="dense", vocab=2000)
    return checkpoint, next_id(checkpoint)


def test_an_added_token_that_tokenizer_json_lacks_is_added(tmp_path: Path) -> None:
    checkpoint, new = grown(tmp_path)
    edit(checkpoint / CONFIG, added_tokens_decoder={str(new): {"content": "<new>", **FLAGS}})
    (row,) = ids(checkpoint, ["a<new>b"])
    assert row.count(new) == 1


def test_the_flags_of_tokenizer_config_hold(tmp_path: Path) -> None:
    loose, strict = (write_checkpoint(tmp_path / name, kind="dense") for name in "ab")
    mask = next_id(loose) - 1
    for checkpoint, lstrip in ((loose, True), (strict, False)):
        edit(checkpoint / CONFIG, added_tokens_decoder={str(mask): {"content": "<mask>", **FLAGS, "lstrip": lstrip}})
    (first,), (second,) = ids(loose, ["x <mask> y"]), ids(strict, ["x <mask> y"])
    assert len(second) == len(first) + 1  # the space before is a token now


def test_added_tokens_of_older_checkpoints_are_added(tmp_path: Path) -> None:
    checkpoint, new = grown(tmp_path)
    write_json(checkpoint / "added_tokens.json", {"<new>": new, "<mask>": new - 1})
    (row,) = ids(checkpoint, ["a<new>b"])
    assert row.count(new) == 1


def test_added_tokens_json_is_not_read_where_tokenizer_config_has_them(tmp_path: Path) -> None:
    checkpoint, new = grown(tmp_path)
    write_json(checkpoint / "added_tokens.json", {"<new>": new})
    edit(checkpoint / CONFIG, added_tokens_decoder={})
    assert ids(checkpoint) == ids(write_checkpoint(tmp_path / "b", kind="dense", vocab=2000))


def test_the_same_tokens_leave_the_file_as_it_is(tmp_path: Path) -> None:
    plain, told = pair(tmp_path, "dense")
    added = json.loads((told / TOKENIZER).read_text("utf-8"))["added_tokens"]
    edit(told / CONFIG, added_tokens_decoder={str(t["id"]): {k: t[k] for k in ("content", *FLAGS)} for t in added})
    for checkpoint in (plain, told):
        written(checkpoint)
    files = [(tmp_path / f"{name}-bundle" / TOKENIZER).read_bytes() for name in "ab"]
    assert files[0] == files[1]


@pytest.mark.parametrize(("token", "words"), [
    ({"1999": {"content": "<new>", **FLAGS}}, "the added token '<new>' has id 1999, expected 1864"),
    ({"7": {"content": "<mask>", **FLAGS}}, "the added token '<mask>' has id 7, expected 1863"),
    ({"1864": {"content": "", **FLAGS}}, "expected tokens by their ids"),
    ({"x": {"content": "<new>", **FLAGS}}, "expected tokens by their ids"),
    ({"1864": "<new>"}, "'1864' is '<new>', expected an object"),
    ({"1864": {"content": "<new>", "lstrip": 1}}, "lstrip is 1, expected true or false"),
    ({"1864": {"content": "<new>", "regex": "x"}}, "'regex' is 'x', which is not supported"),
])  # fmt: skip
def test_added_tokens_that_do_not_fit_are_refused(tmp_path: Path, token: dict[str, Any], words: str) -> None:
    checkpoint, _ = grown(tmp_path)
    edit(checkpoint / CONFIG, added_tokens_decoder=token)
    assert words in refusal(checkpoint)


def test_an_added_token_beyond_the_vocabulary_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "a", kind="dense")
    edit(checkpoint / CONFIG, added_tokens_decoder={"1864": {"content": "<new>", **FLAGS}})
    assert "has ids up to 1864, expected below vocab_size 1864" in refusal(checkpoint)


# ---- special tokens and the other settings


@pytest.mark.parametrize("role", ["bos", "eos", "unk", "sep", "pad", "cls", "mask"])
def test_special_tokens_that_disagree_are_refused(tmp_path: Path, role: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "a", kind="dense")
    edit(checkpoint / MAP, **{f"{role}_token": {"content": "<other>"}})
    assert f"{role}_token is '<other>' and " in refusal(checkpoint)


def test_special_tokens_that_no_file_names_are_those_of_the_kind(tmp_path: Path) -> None:
    for kind in ("dense", "bert"):
        named, silent = pair(tmp_path / kind, kind)
        for name in (CONFIG, MAP):
            (silent / name).unlink()
        assert read_config(silent, "x").special_tokens == read_config(named, "x").special_tokens


@pytest.mark.parametrize(("settings", "words"), [
    ({"padding_side": "left"}, "padding_side is 'left', expected right"),
    ({"truncation_side": "left"}, "truncation_side is 'left', expected right"),
    ({"split_special_tokens": True}, "split_special_tokens is True"),
    ({"tokenizer_class": "BertJapaneseTokenizer"}, "tokenizer_class is 'BertJapaneseTokenizer'"),
    ({"tokenizer_class": "LlamaTokenizerFast"}, "tokenizer_class is 'LlamaTokenizerFast'"),
    ({"auto_map": {"AutoTokenizer": ["x.T", None]}}, "code of the checkpoint's own is never run"),
    ({"additional_special_tokens": ["<other>"]}, "'<other>' is none of its tokens"),
    ({"extra_special_tokens": {"image": "<other>"}}, "'<other>' is none of its tokens"),
    ({"extra_special_tokens": ["<mask>", "<other>"]}, "'<other>' is none of its tokens"),
    ({"model_max_length": "512"}, "model_max_length is '512'"),
    ({"model_max_length": -1}, "model_max_length is -1"),
])  # fmt: skip
def test_settings_that_no_bundle_has_are_refused(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "a", kind="dense")
    edit(checkpoint / CONFIG, **settings)
    assert words in refusal(checkpoint)


@pytest.mark.parametrize("part", ["truncation", "padding"])
def test_sides_of_tokenizer_json_are_read_too(tmp_path: Path, part: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "a", kind="dense")
    edit(checkpoint / TOKENIZER, **{part: {"direction": "Left"}})
    assert f"{part} is on the left, expected on the right" in refusal(checkpoint)


@pytest.mark.parametrize(("limit", "expected"), [(50, 50), (1e30, 128), (10**30, 128), (None, 128), (4096, 128)])
def test_the_longest_text_is_the_tokenizers_where_sentence_transformers_has_none(
    tmp_path: Path, limit: Any, expected: int
) -> None:
    checkpoint = write_checkpoint(tmp_path / "a", kind="dense")
    (checkpoint / SETTINGS).unlink()
    edit(checkpoint / CONFIG, model_max_length=limit)
    assert read_config(checkpoint, "x").max_tokens == expected


def test_a_prefix_space_is_that_of_tokenizer_config(tmp_path: Path) -> None:
    for name, there, told in (("a", False, True), ("b", True, None)):
        checkpoint = write_checkpoint(tmp_path / name, kind="dense")
        splits = {"type": "ByteLevel", "add_prefix_space": there, "trim_offsets": True, "use_regex": True}
        edit(checkpoint / TOKENIZER, pre_tokenizer=splits)
        edit(checkpoint / CONFIG, add_prefix_space=told)
        written(checkpoint)
        found = json.loads((tmp_path / f"{name}-bundle" / TOKENIZER).read_text("utf-8"))["pre_tokenizer"]
        assert found == splits | {"add_prefix_space": bool(told)}


def test_a_piece_whose_id_is_beyond_the_vocabulary_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "a", kind="bert")
    vocab = json.loads((checkpoint / TOKENIZER).read_text("utf-8"))["model"]["vocab"]
    edit_tokenizer(checkpoint, "model", vocab=vocab | {"beyond": 99_999})
    assert "has ids up to 99999, expected below vocab_size" in refusal(checkpoint)
