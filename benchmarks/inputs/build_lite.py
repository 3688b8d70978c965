"""Build bge-m3-lite 0.6.2's fused fp32 and int8 models from a checkpoint, as its own commands do from the Hub.

    python -m benchmarks.inputs.build_lite CHECKPOINT OUT

Needs torch, transformers and bge-m3-lite[quant]. The int8 file that bge-m3-lite downloads was made by the same code.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..common import options, require


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--step", choices=STEPS, help="run one step only, in this process")
    args = parser.parse_args()
    require("torch", "transformers", "onnx", "bge-m3-lite")
    if args.step:
        STEPS[args.step](args.checkpoint, args.out)
        return
    if args.out.exists():
        raise SystemExit(f"{args.out} exists; name a directory that does not")
    args.out.mkdir(parents=True)
    for step in STEPS:  # each in a process of its own, since each takes over 5 GB
        command = [sys.executable, "-m", f"{__package__}.build_lite", args.checkpoint, args.out, "--step", step]
        if status := subprocess.run(command).returncode:
            raise SystemExit(f"{step} failed with exit code {status}")
    print(args.out)


def trace(checkpoint: Path, out: Path) -> None:
    """Write the encoder to model.onnx, with its weights in one file beside it."""
    import onnx
    import torch

    raw = out / "raw"
    raw.mkdir()
    ids = torch.ones(2, 16, dtype=torch.long)
    axes = {0: "batch", 1: "tokens"}
    names = ["input_ids", "attention_mask"]
    torch.onnx.export(
        _backbone(checkpoint),
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
    from bge_m3_lite.fuse import fuse

    fuse(out / "model.onnx")


def quantize_backbone(checkpoint: Path, out: Path) -> None:
    from bge_m3_lite.quantize import QuantConfig, quantize

    tokenizer = checkpoint / "sentencepiece.bpe.model"
    quantize(out / "model_fused.onnx", out / "model_int8.onnx", QuantConfig(), tokenizer_path=tokenizer)


STEPS = {step.__name__: step for step in (trace, fuse_backbone, quantize_backbone)}


def _backbone(checkpoint: Path) -> Any:
    """The encoder with the inputs and output of the Hub's ONNX file: ids and mask to the last hidden state."""
    import torch
    from transformers import XLMRobertaModel

    class Backbone(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = XLMRobertaModel.from_pretrained(
                checkpoint, add_pooling_layer=False, attn_implementation="eager"
            ).eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    return Backbone()


if __name__ == "__main__":
    main()
