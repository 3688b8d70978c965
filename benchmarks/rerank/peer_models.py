"""The rerankers that are compared; a call turns pairs of a query and a passage, cut to a length in tokens, into logits.

All of them read one checkpoint. Converted models are kept in `work`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoder.peer_models import Material, Peer

Score = Callable[[list[tuple[str, str]], int], NDArray[np.float32]]  # pairs and a length in tokens to logits (pairs,)
Calls = Mapping[str, Score]

_ONNX_INT8 = {True: "avx512_vnni", False: "avx2"}  # sentence-transformers' name of the quantization, by VNNI


def m3rt(spec: str) -> Peer:
    """`spec` is BUNDLE or BUNDLE:ENGINE."""
    path, _, engine = spec.partition(":")

    def load(material: Material) -> Calls:
        from m3rt import M3Reranker

        model = M3Reranker(path, engine=engine or "auto", device="cpu", threads=material.threads)
        name = f"m3rt {model.manifest.precision} {model.engine.name}"
        return {name: lambda pairs, length: np.asarray(model.compute_score(pairs, max_length=length).values)}

    return Peer(load)


def flag_reranker(material: Material) -> Calls:
    import torch
    from FlagEmbedding import FlagReranker

    torch.set_num_threads(material.threads)
    model = FlagReranker(str(material.checkpoint), use_fp16=False, devices="cpu")
    return {"FlagReranker fp32": lambda pairs, length: np.asarray(model.compute_score(pairs, max_length=length))}


def cross_encoder(precision: str, backend: str = "torch", **options: Any) -> Peer:
    """sentence-transformers' class. The longest pairs run first in it, 32 in a batch."""
    name = f"CrossEncoder {backend} {precision}"

    def load(material: Material) -> Calls:
        import torch
        from sentence_transformers import CrossEncoder

        torch.set_num_threads(material.threads)
        arguments = dict(options)
        source = material.checkpoint if backend == "torch" else material.work / backend
        if backend == "onnx":
            import onnxruntime as ort

            session = ort.SessionOptions()
            session.intra_op_num_threads = material.threads
            arguments |= {"provider": "CPUExecutionProvider", "session_options": session, "file_name": _file(precision)}
        if backend == "openvino":
            arguments["ov_config"] = {"INFERENCE_NUM_THREADS": str(material.threads)}
        model = CrossEncoder(str(source), backend=backend, device="cpu", model_kwargs=arguments)

        def score(pairs: list[tuple[str, str]], length: int) -> NDArray[np.float32]:
            model.max_length = length
            return np.asarray(model.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False))

        return {name: score}

    def prepare(material: Material) -> None:
        if backend == "torch":
            return
        _convert(material.checkpoint, backend, material.work / backend)
        if precision == "int8":
            _quantize(material.work / backend)

    return Peer(load, prepare)


def fastembed(material: Material) -> Calls:
    """Use fastembed's class with the ONNX file that sentence-transformers exports: its own models are on the Hub."""
    from fastembed.common.model_description import ModelSource
    from fastembed.rerank.cross_encoder import TextCrossEncoder

    TextCrossEncoder.add_custom_model("local/reranker", ModelSource(url="file://local"), model_file="onnx/model.onnx")
    model = TextCrossEncoder(
        "local/reranker", threads=material.threads, specific_model_path=str(material.work / "onnx")
    )

    def score(pairs: list[tuple[str, str]], length: int) -> NDArray[np.float32]:
        model.model.tokenizer.enable_truncation(max_length=length)
        return np.asarray(list(model.rerank_pairs(pairs, batch_size=32)))

    return {"fastembed fp32": score}


def _convert(checkpoint: Path, backend: str, out: Path) -> None:
    from sentence_transformers import CrossEncoder

    if any(out.rglob("openvino_model.xml" if backend == "openvino" else "model.onnx")):
        return
    arguments = {"export": True, **({"provider": "CPUExecutionProvider"} if backend == "onnx" else {"compile": False})}
    CrossEncoder(str(checkpoint), backend=backend, device="cpu", model_kwargs=arguments).save_pretrained(str(out))


def _quantize(out: Path) -> None:
    """Quantize with sentence-transformers' helper: weights ahead, activations as they come."""
    from sentence_transformers import CrossEncoder, export_dynamic_quantized_onnx_model

    if not (out / _file("int8")).exists():
        arguments = {"provider": "CPUExecutionProvider", "file_name": _file("fp32")}
        model = CrossEncoder(str(out), backend="onnx", device="cpu", model_kwargs=arguments)
        export_dynamic_quantized_onnx_model(model, _ONNX_INT8[_has_vnni()], str(out))


def _file(precision: str) -> str:
    if precision == "fp32":
        return "onnx/model.onnx"
    return "onnx/model_qint8_avx512_vnni.onnx" if _has_vnni() else "onnx/model_quint8_avx2.onnx"


def _has_vnni() -> bool:
    return "avx512_vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8")


def _onnx(material: Material) -> None:
    _convert(material.checkpoint, "onnx", material.work / "onnx")


PEERS: dict[str, Peer] = {
    "flag": Peer(flag_reranker),
    "ce-torch": cross_encoder("fp32"),
    "ce-onnx": cross_encoder("fp32", "onnx"),
    "ce-onnx-int8": cross_encoder("int8", "onnx"),
    "ce-openvino": cross_encoder("as loaded", "openvino"),
    "fastembed": Peer(fastembed, _onnx),
}
