"""Build bge-m3-lite 0.6.2's fused fp32 and int8 models from a checkpoint, as its own commands do from the Hub.

    python benchmarks/build_lite.py CHECKPOINT OUT

Needs torch, transformers and bge-m3-lite[quant]. The int8 file it downloads otherwise is made by this code.
"""

import argparse
import multiprocessing
import shutil
from pathlib import Path

import onnx
import torch
from bge_m3_lite.fuse import fuse
from bge_m3_lite.quantize import QuantConfig, quantize
from transformers import XLMRobertaModel


class Backbone(torch.nn.Module):
    """The encoder as the Hub's own ONNX file has it: ids and mask in, last hidden state out."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__()
        self.model = XLMRobertaModel.from_pretrained(
            checkpoint, add_pooling_layer=False, attn_implementation="eager"
        ).eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    for step in (trace, fuse_backbone, quantize_backbone):  # a process each: every one takes over 5 GB
        process = multiprocessing.get_context("spawn").Process(target=step, args=(args.checkpoint, args.out))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{step.__name__} failed with exit code {process.exitcode}")
    print(args.out)


def trace(checkpoint: Path, out: Path) -> None:
    raw = out / "raw"
    raw.mkdir()
    ids = torch.ones(2, 16, dtype=torch.long)
    axes = {0: "batch", 1: "tokens"}
    names = ["input_ids", "attention_mask"]
    torch.onnx.export(
        Backbone(checkpoint),
        (ids, ids),
        str(raw / "model.onnx"),
        input_names=names,
        output_names=["token_embeddings"],
        dynamic_axes=dict.fromkeys([*names, "token_embeddings"], axes),
        opset_version=14,
        dynamo=False,
    )
    model = onnx.load(raw / "model.onnx")
    onnx.save(model, out / "model.onnx", save_as_external_data=True, location="model.onnx_data")
    shutil.rmtree(raw)


def fuse_backbone(checkpoint: Path, out: Path) -> None:
    fuse(out / "model.onnx")


def quantize_backbone(checkpoint: Path, out: Path) -> None:
    tokenizer = checkpoint / "sentencepiece.bpe.model"
    quantize(out / "model_fused.onnx", out / "model_int8.onnx", QuantConfig(), tokenizer_path=tokenizer)


if __name__ == "__main__":
    main()
