"""The peers on a card as rows of a table, in peer_worker.py's form: a row prepares its models once, and loads them.

They run on M3RT_DEVICE, by default cuda; on "cpu" they compute in float32, to try the scripts without a card. A call
turns texts, cut to a length in tokens, into dense vectors, or each text paired with itself into a reranker's logits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Encode = Callable[[list[str], int], NDArray[np.float32]]
Calls = Mapping[str, Encode]

DEVICE = os.environ.get("M3RT_DEVICE", "cuda")
HALF = DEVICE != "cpu"
ORACLE = "FlagEmbedding fp32"
_GEMM_SIZE = 8192 if HALF else 512
_GEMM_CALLS = 10


@dataclass(frozen=True)
class Material:
    """The inputs of all peers; `work` keeps converted models between runs."""

    checkpoint: Path
    reranker: Path
    work: Path
    threads: int


@dataclass(frozen=True)
class Peer:
    load: Callable[[Material], Calls]
    prepare: Callable[[Material], None] = lambda material: None


def m3rt(spec: str) -> Peer:
    """`spec` is a bundle, of an encoder or of a reranker."""

    def load(material: Material) -> Calls:
        from m3rt import M3Encoder, M3Reranker
        from m3rt.bundle import open_bundle

        manifest = open_bundle(Path(spec)).manifest
        if manifest.kind == "reranker":
            reranker = M3Reranker(spec, device=DEVICE)
            return {f"m3rt reranker {manifest.precision}": lambda texts, length: _scored(reranker, texts, length)}
        encoder = M3Encoder(spec, device=DEVICE)
        return {
            f"m3rt {manifest.precision}": lambda texts, length: np.asarray(
                encoder.encode(texts, max_length=length).dense_vecs
            )
        }

    return Peer(load)


def flag_embedding(half: bool) -> Peer:
    def load(material: Material) -> Calls:
        from FlagEmbedding import BGEM3FlagModel

        model = BGEM3FlagModel(str(material.checkpoint), use_fp16=half, devices=DEVICE)
        name = "FlagEmbedding fp16" if half else ORACLE
        return {
            name: lambda texts, length: np.asarray(
                model.encode(texts, batch_size=256, max_length=length)["dense_vecs"], np.float32
            )
        }

    return Peer(load)


def flag_reranker(material: Material) -> Calls:
    from FlagEmbedding import FlagReranker

    model = FlagReranker(str(material.reranker), use_fp16=HALF, devices=DEVICE, batch_size=256)
    return {"FlagReranker fp16": lambda texts, length: _scored(model, texts, length)}


def sentence_transformers(name: str, attention: str, compiled: bool = False) -> Peer:
    def load(material: Material) -> Calls:
        import torch
        from sentence_transformers import SentenceTransformer

        dtype = torch.float16 if HALF else torch.float32
        options = {"torch_dtype": dtype, "attn_implementation": attention}
        model = SentenceTransformer(str(material.checkpoint), device=DEVICE, model_kwargs=options)
        if compiled:
            model[0].auto_model = torch.compile(model[0].auto_model, dynamic=True)

        def encode(texts: list[str], length: int) -> NDArray[np.float32]:
            model.max_seq_length = length
            return np.asarray(model.encode(texts, batch_size=256, show_progress_bar=False), np.float32)

        return {f"sentence-transformers {name}": encode}

    return Peer(load)


def optimum(material: Material) -> Calls:
    """onnxruntime on the graph that Optimum traces, optimized and in fp16 as its own command makes it."""
    from optimum.onnxruntime import ORTModelForFeatureExtraction
    from transformers import AutoTokenizer

    provider = "CUDAExecutionProvider" if HALF else "CPUExecutionProvider"
    model = ORTModelForFeatureExtraction.from_pretrained(str(material.work / "optimum"), provider=provider)
    tokenizer = AutoTokenizer.from_pretrained(str(material.checkpoint))

    def encode(texts: list[str], length: int) -> NDArray[np.float32]:
        inputs = tokenizer(texts, truncation=True, max_length=length, padding=True, return_tensors="np")
        first = np.asarray(model(**inputs).last_hidden_state[:, 0], np.float32)
        return np.asarray(first / np.linalg.norm(first, axis=1, keepdims=True))

    return {"onnxruntime, Optimum's graph": encode}


def trace(material: Material) -> None:
    """Write Optimum's graph, with its level O4 (fused, fp16) for a card."""
    from optimum.exporters.onnx import main_export

    out = material.work / "optimum"
    if not out.exists():
        main_export(str(material.checkpoint), out, task="feature-extraction", library_name="transformers",
                    device=DEVICE, optimize="O4" if HALF else None)  # fmt: skip


def gemm(material: Material) -> Calls:
    """The card's rate of fp16 matrix products, as TFLOP/s in an array of one number."""
    import torch

    size, dtype = _GEMM_SIZE, torch.float16 if HALF else torch.float32
    a, b = (torch.randn(size, size, device=DEVICE).to(dtype) for _ in range(2))

    def rate(texts: list[str], length: int) -> NDArray[np.float32]:
        for calls in (2, _GEMM_CALLS):
            _wait()
            start = time.perf_counter()
            for _ in range(calls):
                a @ b
            _wait()
            seconds = (time.perf_counter() - start) / calls
        return np.array([2 * size**3 / seconds / 1e12], np.float32)

    return {GEMM: rate}


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _scored(model: Any, texts: list[str], length: int) -> NDArray[np.float32]:
    scores = model.compute_score([(text, text) for text in texts], max_length=length, query_max_length=length // 2)
    return np.asarray(getattr(scores, "values", scores), np.float32)[:, None]


GEMM = "fp16 matrix products"
PEERS: dict[str, Peer] = {
    "flag-fp32": flag_embedding(half=False),
    "flag": flag_embedding(half=True),
    "st": sentence_transformers("fp16", "sdpa"),
    "st-flash": sentence_transformers("fp16 flash attention", "flash_attention_2"),
    "st-compiled": sentence_transformers("fp16 compiled", "sdpa", compiled=True),
    "optimum": Peer(optimum, trace),
    "flag-reranker": Peer(flag_reranker),
    "products": Peer(gemm),
}
