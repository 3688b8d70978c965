"""The ids of a bundle are those of transformers' AutoTokenizer, whatever its settings files say."""

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import write_checkpoint, write_json
from test_checkpoint_tokenizer import CONFIG, FLAGS, MAP, TEXTS, ids

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

NEW = {"content": "<new>", **FLAGS}
CASES: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "as it is": ("dense", {}),
    "bert as it is": ("bert", {}),
    "cased": ("bert", {CONFIG: {"do_lower_case": False}}),
    "accents kept": ("bert", {CONFIG: {"strip_accents": False}}),
    "accents stripped": ("bert", {CONFIG: {"strip_accents": True, "do_lower_case": False}}),
    "chinese words": ("bert", {CONFIG: {"tokenize_chinese_chars": False}}),
    "no class": ("bert", {CONFIG: {"tokenizer_class": None, "do_lower_case": False}}),
    "plain class": ("bert", {CONFIG: {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}}),
    "a new token": ("dense", {CONFIG: {"added_tokens_decoder": {"1864": NEW}}}),
    "a new normalized token": ("dense", {CONFIG: {"added_tokens_decoder": {"1864": NEW | {"normalized": True}}}}),
    "a new word": ("dense", {CONFIG: {"added_tokens_decoder": {"1864": NEW | {"special": False, "rstrip": True}}}}),
    "mask strips nothing": ("dense", {CONFIG: {"added_tokens_decoder": {"1863": NEW | {"content": "<mask>"}}}}),
    "older added tokens": ("dense", {"added_tokens.json": {"<new>": 1864}}),
    "older tokens not read": ("dense", {"added_tokens.json": {"<new>": 1864}, CONFIG: {"added_tokens_decoder": {}}}),
    "mask in the map": ("dense", {MAP: {"mask_token": {"content": "<mask>", **FLAGS}}}),
}


@pytest.mark.parametrize("case", CASES)
def test_ids_are_those_of_transformers(tmp_path: Path, case: str) -> None:
    from transformers import AutoTokenizer

    kind, files = CASES[case]
    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind=kind, vocab=None if kind == "bert" else 2000)
    for name, values in files.items():
        path = checkpoint / name
        before = json.loads(path.read_text("utf-8")) if path.exists() else {}
        write_json(path, before | values)
    theirs = AutoTokenizer.from_pretrained(checkpoint)
    assert theirs.is_fast
    assert ids(checkpoint) == [theirs(text)["input_ids"] for text in TEXTS]
