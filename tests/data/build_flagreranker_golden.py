"""Record what FlagEmbedding's FlagReranker and transformers compute for the tiny rerankers of the tests.

    python tests/data/build_flagreranker_golden.py

Needs the `parity` extra. The result is committed, so that every run of the tests has these oracles without torch:
run this only after a change of checkpoints.py or of the tokenizer.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from FlagEmbedding import FlagReranker
from FlagEmbedding.inference.reranker.encoder_only import base
from transformers import AutoModelForSequenceClassification, AutoTokenizer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "support"))
from checkpoints import sentences, write_checkpoint  # noqa: E402

# Texts without end, none, special tokens that somebody typed, of both models.
LONG = " ".join(sentences()[:12])
QUERIES = [*sentences()[:60:11], "", "typed <s> </s> [SEP] [CLS] </s>", LONG]
PASSAGES = [*sentences()[7:60:11], "", "passage [SEP] of </s> two", LONG]
PAIRS = [(q, p) for i, q in enumerate(QUERIES) for p in PASSAGES[i % 2 :: 2]]
# max_length, query_max_length: with the third some pairs stay longer than max_length, as nothing is left to cut.
LIMITS = ((128, None), (24, None), (24, 24), (16, 3))
KINDS = ("reranker", "bert-reranker")


def flagreranker(checkpoint: Path) -> list[dict[str, Any]]:
    model = FlagReranker(str(checkpoint), use_fp16=False, devices="cpu")
    rows: list[list[int]] = []

    def recorded(*args: Any, **options: Any) -> Any:
        item = packed(*args, **options)
        rows.append(item["input_ids"])
        return item

    packed, base.prepare_for_model_compat = base.prepare_for_model_compat, recorded
    records = []
    for max_length, query_max_length in LIMITS:
        options = {"max_length": max_length, "query_max_length": query_max_length, "batch_size": 8}
        rows.clear()
        scores = model.compute_score(PAIRS, **options)
        ids = [list(row) for row in rows]
        records.append({
            "max_length": max_length,
            "query_max_length": query_max_length,
            "input_ids": ids,
            "scores": [round(score, 6) for score in scores],
            "normalized": [round(score, 6) for score in model.compute_score(PAIRS, normalize=True, **options)],
        })  # fmt: skip
    base.prepare_for_model_compat = packed
    return records


def logits(checkpoint: Path) -> list[list[float]]:
    """transformers' own of the first pairs, for a classifier of several labels."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    inputs = tokenizer(PAIRS[:6], padding=True, truncation="only_second", max_length=128, return_tensors="pt")
    with torch.no_grad():
        found: list[list[float]] = model(**inputs).logits.tolist()
    return [[round(x, 6) for x in row] for row in found]


def main() -> None:
    golden: dict[str, Any] = {"pairs": PAIRS}
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            golden[kind] = flagreranker(write_checkpoint(Path(folder, kind), kind=kind))
            golden[f"{kind} of 3 labels"] = logits(write_checkpoint(Path(folder, f"{kind}-3"), kind=kind, labels=3))
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    (HERE / "flagreranker_golden.json").write_text(text.replace('{"max_length"', '\n{"max_length"') + "\n", "utf-8")


if __name__ == "__main__":
    main()
