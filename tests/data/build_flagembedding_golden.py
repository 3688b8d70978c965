"""Record what FlagEmbedding and transformers compute for the tiny checkpoints of the tests.

    python tests/data/build_flagembedding_golden.py

Needs the `parity` extra. The result is committed, so that every run of the tests has these oracles without torch:
run this only after a change of checkpoints.py or of the tokenizer.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from FlagEmbedding import BGEM3FlagModel
from transformers import AutoModel, AutoTokenizer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "support"))
from checkpoints import sentences, write_checkpoint  # noqa: E402

ALL = {"return_dense": True, "return_sparse": True, "return_colbert_vecs": True}
WIDTH = 6  # components kept of each ColBERT vector
TEXTS = [*sentences()[:120:13], "", "typed <pad> <s> </s> twice twice", " ".join(sentences()[:6])]
PAIRS = [(TEXTS[i], TEXTS[-2 - i]) for i in range(5)] + [(TEXTS[0], "")]


def rounded(values: Any) -> Any:
    return [rounded(value) for value in values] if getattr(values, "ndim", 0) else round(float(values), 6)


def m3(directory: Path) -> dict[str, Any]:
    model = BGEM3FlagModel(str(write_checkpoint(directory)), use_fp16=False, devices="cpu")
    records = []
    for max_length in (128, 12):
        out = model.encode(TEXTS, max_length=max_length, batch_size=4, **ALL)
        for i, text in enumerate(TEXTS):
            records.append({
                "text": text,
                "max_length": max_length,
                "input_ids": model.tokenizer(text, truncation=True, max_length=max_length)["input_ids"],
                "dense_vecs": rounded(out["dense_vecs"][i]),
                "lexical_weights": {token: rounded(weight) for token, weight in out["lexical_weights"][i].items()},
                "colbert_vecs": rounded(out["colbert_vecs"][i][:, :WIDTH]),
            })  # fmt: skip
    options = {"batch_size": 1, "max_query_length": 128, "max_passage_length": 128}
    scores = [model.compute_score(pair, weights_for_different_modes=[0.4, 0.2, 0.4], **options) for pair in PAIRS]
    return {"texts": records, "pairs": [{"pair": p, "scores": s} for p, s in zip(PAIRS, scores, strict=True)]}


def bert(directory: Path) -> list[dict[str, Any]]:
    """BERT with mean pooling, as Sentence Transformers runs it."""
    checkpoint = write_checkpoint(directory, kind="bert", pooling="mean")
    texts = [text for text in TEXTS if "<" not in text]
    inputs = AutoTokenizer.from_pretrained(checkpoint)(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(checkpoint).eval()(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    vectors = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
    return [{"text": text, "dense_vecs": rounded(vector)} for text, vector in zip(texts, vectors, strict=True)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        golden = {"m3": m3(Path(folder, "m3")), "bert-mean": bert(Path(folder, "bert"))}
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    lines = text.replace('{"text"', '\n{"text"').replace('{"pair"', '\n{"pair"')
    (HERE / "flagembedding_golden.json").write_text(lines + "\n", "utf-8")


if __name__ == "__main__":
    main()
