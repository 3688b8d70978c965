"""A small cross-encoder with trained weights, in Hugging Face's layout, from translations and an XLM-R encoder.

    python -m benchmarks.inputs.make_reranker ENCODER DATA OUT [--layers 5 --frozen 3 --steps 250]

Random weights say nothing about the order that a quantized reranker keeps, and none of the trained ones is on PyPI.
DATA holds a folder with pairs.jsonl {a, b, lang_a, lang_b} for each set of SETS. A query is a translation of one text
of the passage, or some of its words; the wrong passages are BM25's neighbours of the right one, and any others. The
embeddings stay as they are. Needs torch, transformers and bm25s.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common import add_threads, options, require

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase, XLMRobertaForSequenceClassification

SETS = {"train_lohelp": 0.3, "train_tldr": 0.35, "train_tatoeba": 0.2, "train_tico19": 0.15}  # share of the queries
ROWS = 30_000  # read of a set, whose rows are in random order
POOL_PAIRS = 600  # of one set and language, among which wrong passages are looked for
ANCHORS = 80  # queries of one set and language
WRONG = 3  # passages beside the right one
NEAR = (0, 1, 2)  # of them BM25's neighbours, in each third of the steps
QUERIES = 6  # of a step, alike in length, since padding costs time
TEXTS = (1, 1, 1, 2)  # of a passage, drawn for each step
MAX_CHARACTERS = 80  # of a text
MAX_TOKENS = 96  # of a pair
MAX_SAME_WORDS = 0.6  # of two texts' words: above it a neighbour says the same
LEARNING_RATE = 3e-4
HEAD_LEARNING_RATE = 3e-3  # the head starts at random
HELD_OUT = 40  # queries
HELD_OUT_WRONG = 20  # passages of a held-out query, half of them BM25's neighbours


@dataclass(frozen=True, slots=True)
class Question:
    """One text of a pair as the query, the texts of one side of the pool, and which of them are right and near."""

    query: str
    side: Sequence[str]
    right: int
    near: Sequence[int]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--frozen", type=int, default=3, help="layers that stay as they are, as the embeddings do")
    parser.add_argument("--steps", type=int, default=250)
    add_threads(parser)
    args = parser.parse_args()
    require("torch", "transformers", "bm25s")
    import torch
    from transformers import AutoTokenizer, XLMRobertaForSequenceClassification

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.encoder)
    model = XLMRobertaForSequenceClassification.from_pretrained(
        args.encoder, num_labels=1, num_hidden_layers=args.layers, attention_probs_dropout_prob=0.0
    )
    asked = questions(args.data, random.Random(0))
    for part in (model.roberta.embeddings, *model.roberta.encoder.layer[: args.frozen]):
        part.requires_grad_(False)
    train(model, tokenizer, asked[HELD_OUT:], args.steps)
    print(f"held out: {held_out(model, tokenizer, asked[:HELD_OUT])}")
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    print(args.out)


def questions(data: Path, draw: random.Random) -> list[Question]:
    """The queries of all sets, in the shares of SETS, in random order."""
    of_sets = {}
    for name in SETS:
        pools: dict[tuple[str, str], dict[str, str]] = {}
        with (data / name / "pairs.jsonl").open(encoding="utf-8") as lines:
            for row in map(json.loads, islice(lines, ROWS)):
                texts = row["a"][:MAX_CHARACTERS], row["b"][:MAX_CHARACTERS]
                pools.setdefault((row["lang_a"], row["lang_b"]), {})[texts[0]] = texts[1]
        of_sets[name] = [q for pool in pools.values() if len(pool) >= ANCHORS for q in _of_pool(pool, draw)]
        draw.shuffle(of_sets[name])
    whole = min(len(of_sets[name]) / share for name, share in SETS.items())
    asked = [q for name, share in SETS.items() for q in of_sets[name][: int(share * whole)]]
    draw.shuffle(asked)
    return asked


def _of_pool(translations: dict[str, str], draw: random.Random) -> list[Question]:
    import bm25s

    pairs = draw.sample(list(translations.items()), min(POOL_PAIRS, len(translations)))
    sides = tuple(zip(*pairs, strict=True))
    words = [{*a.lower().split()} for a in sides[0]]
    index = bm25s.BM25()
    index.index(bm25s.tokenize(list(sides[0]), show_progress=False), show_progress=False)
    anchors = draw.sample(range(len(pairs)), ANCHORS)
    tokens = bm25s.tokenize([sides[0][i] for i in anchors], show_progress=False, return_ids=False)
    found = index.retrieve(tokens, k=3 * HELD_OUT_WRONG // 2, show_progress=False).documents
    asked = []
    for i, row in zip(anchors, found.tolist(), strict=True):
        near = [j for j in row if len(words[i] & words[j]) <= MAX_SAME_WORDS * len(words[i] | words[j])]
        side = draw.random() < 0.3
        query = sides[not side][i] if draw.random() < 0.6 else _some_words(sides[side][i], draw)
        if len(near) >= max(NEAR):
            asked.append(Question(query, sides[side], i, near))
    return asked


def _some_words(text: str, draw: random.Random) -> str:
    words = text.split()
    kept = draw.sample(range(len(words)), max(1, round(len(words) * draw.uniform(0.3, 0.8))))
    return " ".join(words[i] for i in sorted(kept))


def passages(asked: Question, wrong: int, near: int, texts: int, draw: random.Random) -> list[str]:
    """The right passage and then `wrong` others, `near` of them neighbours; each is `texts` texts in random order."""
    neighbours = draw.sample(list(asked.near), min(near, len(asked.near)))
    places = range(len(asked.side))
    others = [i for i in draw.sample(places, wrong + near + 1) if i != asked.right and i not in neighbours]
    made = []
    for place in [asked.right, *neighbours, *others][: 1 + wrong]:
        parts = [place, *draw.sample(places, texts - 1)]
        draw.shuffle(parts)
        made.append("\n".join(asked.side[i] for i in parts))
    return made


def train(
    model: XLMRobertaForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[Question],
    steps: int,
) -> None:
    """Softmax over each query's passages, with Adam and one cycle of the learning rate."""
    import torch

    rates = {model.roberta: LEARNING_RATE, model.classifier: HEAD_LEARNING_RATE}
    groups = [{"params": [p for p in part.parameters() if p.requires_grad]} for part in rates]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [*rates.values()], total_steps=steps, pct_start=0.1)
    by_length = sorted(asked, key=lambda q: len(q.side[q.right]))
    draw, losses = random.Random(1), []
    model.train()
    for step in range(steps):
        texts, near = draw.choice(TEXTS), NEAR[len(NEAR) * step // steps]
        first = draw.randrange(len(by_length) - QUERIES)
        pairs = [(q.query, p) for q in by_length[first:][:QUERIES] for p in passages(q, WRONG, near, texts, draw)]
        logits = _logits(model, tokenizer, pairs).view(QUERIES, 1 + WRONG)
        loss = torch.nn.functional.cross_entropy(logits, torch.zeros(QUERIES, dtype=torch.long))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 20 == 19:
            print(f"step {step + 1}: loss {np.mean(losses[-20:]):.3f}, {time.process_time():.0f} CPU s", flush=True)


def held_out(model: Any, tokenizer: Any, asked: Sequence[Question]) -> str:
    """nDCG@10 of the right passage among the wrong ones, and its margin over the best of them."""
    import torch

    model.eval()
    draw, gains, margins = random.Random(2), [], []
    for q in asked:
        with torch.inference_mode():
            made = passages(q, HELD_OUT_WRONG, HELD_OUT_WRONG // 2, 1, draw)
            logits = _logits(model, tokenizer, [(q.query, p) for p in made]).numpy()
        rank = int((logits[1:] >= logits[0]).sum())
        gains.append(1 / np.log2(rank + 2) if rank < 10 else 0.0)
        margins.append(float(logits[0] - logits[1:].max()))
    chance = sum(1 / np.log2(rank + 2) for rank in range(10)) / (1 + HELD_OUT_WRONG)
    return f"nDCG@10 {np.mean(gains):.3f} (chance {chance:.3f}), median margin {np.median(margins):.2f}"


def _logits(model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> torch.Tensor:
    batch = tokenizer(list(pairs), truncation="longest_first", max_length=MAX_TOKENS, padding=True, return_tensors="pt")
    logits: torch.Tensor = model(**batch).logits
    return logits[:, 0]


if __name__ == "__main__":
    main()
