"""tokens/s and latency of m3rt beside FlagEmbedding and bge-m3-lite, interleaved in one run, text in, vectors out.

    python benchmarks/speed.py --checkpoint DIR --fp32 BUNDLE --int8 BUNDLE [--lite DIR] [--repeats 5]

Every peer gets the same texts, cut to the same number of tokens, and two threads or what --threads says.
`vs FlagEmbedding` is the worst cosine of its dense vectors to FlagEmbedding's.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import interleaved, regime, report, spread
from numpy.typing import NDArray

from m3rt import M3Encoder
from m3rt.threads import available_cpus

SHAPES = ((8, 128), (1, 16), (1, 512))
Encode = Callable[[list[str], int], NDArray[np.float32]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--fp32", type=Path, required=True)
    parser.add_argument("--int8", type=Path, required=True)
    parser.add_argument("--lite", type=Path, help="output of build_lite.py")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cpus())
    args = parser.parse_args()
    peers: dict[str, Encode] = {
        "m3rt int8": _m3rt(args.int8, args.threads),
        "m3rt fp32": _m3rt(args.fp32, args.threads),
        "FlagEmbedding": _flag_embedding(args.checkpoint, args.threads),
    }
    if args.lite:
        for precision, file in (("int8", "model_int8.onnx"), ("fp32", "model_fused.onnx")):
            peers[f"bge-m3-lite {precision}"] = _lite(args.lite / file, args.checkpoint, args.threads)
    rows = [row for shape in SHAPES for row in _measure(peers, *shape, args.repeats)]
    report("Speed", rows, regime(threads=args.threads, repeats=args.repeats))


def _measure(peers: dict[str, Encode], batch: int, length: int, repeats: int) -> list[dict[str, Any]]:
    texts = _texts(batch, length)
    calls = {name: lambda encode=encode: encode(texts, length) for name, encode in peers.items()}
    outputs = {name: call() for name, call in calls.items()}
    oracle = outputs["FlagEmbedding"]
    seconds = interleaved(calls, repeats, inner=4 if batch * length < 64 else 1)
    ours = statistics.median(seconds["m3rt int8"])
    return [
        {
            "shape": f"{batch}x{length}",
            "engine": name,
            "tokens/s": round(batch * length / statistics.median(times)),
            "ms median (range)": spread(times),
            "m3rt int8 is faster by": f"{statistics.median(times) / ours:.2f}x",
            "cosine vs FlagEmbedding": f"{(outputs[name] * oracle).sum(axis=1).min():.5f}",
        }
        for name, times in seconds.items()
    ]


def _texts(batch: int, length: int) -> list[str]:
    """Texts longer than `length` tokens, so that cutting makes all of them exactly that long."""
    draw = np.random.default_rng(length)
    words = "the quick river der alte Baum une petite maison 東京 タワー дом на горе كتاب جديد 서울 नदी 42 2.5"
    return [" ".join(draw.choice(words.split(), length)) for _ in range(batch)]


def _m3rt(bundle: Path, threads: int) -> Encode:
    model = M3Encoder(bundle, device="cpu", threads=threads)

    def encode(texts: list[str], length: int) -> NDArray[np.float32]:
        dense = model.encode(texts, max_length=length).dense_vecs
        assert dense is not None
        return dense

    return encode


def _flag_embedding(checkpoint: Path, threads: int) -> Encode:
    import torch
    from FlagEmbedding import BGEM3FlagModel

    torch.set_num_threads(threads)
    model = BGEM3FlagModel(str(checkpoint), use_fp16=False, devices="cpu")
    return lambda texts, length: np.asarray(model.encode(texts, max_length=length)["dense_vecs"])


def _lite(graph: Path, checkpoint: Path, threads: int) -> Encode:
    """Its tokenizer and backbone; its own class insists on the Hub's files."""
    from bge_m3_lite.model import OnnxBackbone
    from bge_m3_lite.tokenizer import XLMRobertaTokenizer

    tokenizer = XLMRobertaTokenizer.from_file(checkpoint / "sentencepiece.bpe.model")
    backbone = OnnxBackbone(graph, num_threads=threads)

    def encode(texts: list[str], length: int) -> NDArray[np.float32]:
        ids = np.array([tokenizer.encode(text, max_length=length) for text in texts])
        first = backbone(ids, np.ones_like(ids))[:, 0]
        return np.asarray(first / np.linalg.norm(first, axis=1, keepdims=True))

    return encode


if __name__ == "__main__":
    main()
