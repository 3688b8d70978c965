"""The peers as rows of a table: each row prepares its models once, and loads them.

A loader runs in a process of its own and returns calls by name; a call turns texts, cut to a length in tokens, into
dense vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Encode = Callable[[list[str], int], NDArray[np.float32]]  # texts and a length in tokens to vectors (texts, dim)
Calls = Mapping[str, Encode]

OPENVINO_INT8 = "openvino_model_qint8_quantized.xml"
WORDS = "the quick river der alte Baum une petite maison 東京 タワー дом на горе كتاب جديد 서울 नदी 42 2.5"


@dataclass(frozen=True)
class Material:
    """The inputs of all peers; `work` keeps converted models between runs."""

    checkpoint: Path
    lite: Path
    work: Path
    threads: int


@dataclass(frozen=True)
class Peer:
    load: Callable[[Material], Calls]
    prepare: Callable[[Material], None] = lambda material: None


def m3rt(spec: str) -> Peer:
    """`spec` is BUNDLE or BUNDLE:ENGINE. The same engine is also called bare, with batches tokenized beforehand."""
    path, _, engine_name = spec.partition(":")

    def load(material: Material) -> Calls:
        from m3rt import M3Encoder
        from m3rt.batching.plan import plan
        from m3rt.bundle import open_bundle
        from m3rt.engines import Heads, load_engine

        bundle = open_bundle(Path(path))
        engine = load_engine(bundle, engine=engine_name or "auto", device="cpu", threads=material.threads)
        model = M3Encoder.with_engine(bundle, engine)
        prepared: dict[tuple[str, int], Any] = {}

        def encode(texts: list[str], length: int) -> NDArray[np.float32]:
            return np.asarray(model.encode(texts, max_length=length).dense_vecs)

        def bare(texts: list[str], length: int) -> NDArray[np.float32]:
            key = ("\n".join(texts), length)
            if key not in prepared:  # filled by the warm-up
                ids = [model.tokenize(text, max_length=length) for text in texts]
                order = list(plan(np.array([len(i) for i in ids]), engine.batch_tokens, engine.pass_tokens))
                batches = [np.array([ids[row] for row in rows], np.int64) for rows in order]  # one length: no padding
                prepared[key] = np.argsort(np.concatenate(order)), [(x, np.ones_like(x)) for x in batches]
            back, batches = prepared[key]
            return np.concatenate([np.asarray(engine.run(x, mask, Heads()).dense) for x, mask in batches])[back]

        name = f"{bundle.manifest.precision} {engine.name}"
        return {f"m3rt {name}": encode, f"bare session {name}": bare}

    return Peer(load)


def flag_embedding(material: Material) -> Calls:
    import torch
    from FlagEmbedding import BGEM3FlagModel

    torch.set_num_threads(material.threads)
    model = BGEM3FlagModel(str(material.checkpoint), use_fp16=False, devices="cpu")
    return {
        "FlagEmbedding fp32": lambda texts, length: np.asarray(model.encode(texts, max_length=length)["dense_vecs"])
    }


def sentence_transformers(precision: str, backend: str = "torch", **options: Any) -> Peer:
    name = f"sentence-transformers {backend} {precision}"

    def load(material: Material) -> Calls:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(material.threads)
        source, arguments = material.checkpoint, dict(options)
        if backend != "torch":
            source = material.work / backend
        if backend == "onnx":
            import onnxruntime as ort

            session = ort.SessionOptions()
            session.intra_op_num_threads = material.threads
            arguments |= {"provider": "CPUExecutionProvider", "session_options": session}
        if backend == "openvino":
            config = {"INFERENCE_NUM_THREADS": material.threads, **options.get("ov_config", {})}
            arguments["ov_config"] = {key: str(value) for key, value in config.items()}
        model = SentenceTransformer(str(source), backend=backend, device="cpu", model_kwargs=arguments)

        def encode(texts: list[str], length: int) -> NDArray[np.float32]:
            model.max_seq_length = length
            return np.asarray(model.encode(texts, show_progress_bar=False), np.float32)

        return {name: encode}

    def prepare(material: Material) -> None:
        if backend == "torch":
            return
        out = material.work / backend
        file = options.get("file_name", "openvino_model.xml" if backend == "openvino" else "model.onnx")
        if not any(out.glob("*/openvino_model.xml" if backend == "openvino" else "*/model.onnx")):
            _convert(material.checkpoint, backend, out)
        if file == OPENVINO_INT8 and not any(out.glob(f"*/{OPENVINO_INT8}")):
            _quantize(out)

    return Peer(load, prepare)


def _convert(checkpoint: Path, backend: str, out: Path) -> None:
    from sentence_transformers import SentenceTransformer

    arguments = {"export": True, **({"provider": "CPUExecutionProvider"} if backend == "onnx" else {})}
    if backend == "openvino":
        arguments["compile"] = False
    model = SentenceTransformer(str(checkpoint), backend=backend, device="cpu", model_kwargs=arguments)
    model.save_pretrained(str(out))


def _quantize(out: Path, samples: int = 64) -> None:
    """Quantize with sentence-transformers' helper, on texts of this benchmark: its default, GLUE, is on the Hub."""
    import json

    from optimum.intel.openvino import OVQuantizationConfig
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.backend import export_static_quantized_openvino_model

    folder = out / "calibration"
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(7)
    lines = [json.dumps({"text": " ".join(draw.choice(WORDS.split(), 200))}) for _ in range(samples)]
    (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    model = SentenceTransformer(str(out), backend="openvino", device="cpu", model_kwargs={"compile": False})
    export_static_quantized_openvino_model(
        model,
        OVQuantizationConfig(num_samples=samples),
        str(out),
        dataset_name=str(folder),
        dataset_config_name="default",
        dataset_split="train",
        column_name="text",
    )


def lite(precision: str, file: str) -> Peer:
    """Use bge-m3-lite's tokenizer and backbone, since its encoder class accepts the Hub's files only."""

    def load(material: Material) -> Calls:
        from bge_m3_lite.model import OnnxBackbone
        from bge_m3_lite.tokenizer import XLMRobertaTokenizer

        tokenizer = XLMRobertaTokenizer.from_file(material.checkpoint / "sentencepiece.bpe.model")
        backbone = OnnxBackbone(material.lite / file, num_threads=material.threads)

        def encode(texts: list[str], length: int) -> NDArray[np.float32]:
            ids = np.array([tokenizer.encode(text, max_length=length) for text in texts])
            first = backbone(ids, np.ones_like(ids))[:, 0]
            return np.asarray(first / np.linalg.norm(first, axis=1, keepdims=True))

        return {f"bge-m3-lite {precision}": encode}

    return Peer(load)


F32 = {"ov_config": {"INFERENCE_PRECISION_HINT": "f32"}}  # without it OpenVINO takes bf16 where the CPU has it
PEERS: dict[str, Peer] = {
    "flag": Peer(flag_embedding),
    "st-fp32": sentence_transformers("fp32"),
    "st-bf16": sentence_transformers("bf16", torch_dtype="bfloat16"),
    "st-onnx": sentence_transformers("fp32", "onnx", file_name="model.onnx"),
    "st-openvino": sentence_transformers("fp32", "openvino", file_name="openvino_model.xml", **F32),
    "st-openvino-default": sentence_transformers("as loaded", "openvino", file_name="openvino_model.xml"),
    "st-openvino-int8": sentence_transformers("static int8", "openvino", file_name=OPENVINO_INT8),
    "lite-fp32": lite("fp32", "model_fused.onnx"),
    "lite-int8": lite("int8", "model_int8.onnx"),
}
