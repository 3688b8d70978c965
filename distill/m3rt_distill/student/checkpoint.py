"""Students on disk, in BAAI/bge-m3's file layout, which `m3rt export`, transformers and FlagEmbedding read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from m3rt_export.checkpoint import layout
from m3rt_export.checkpoint.config import read_config
from m3rt_export.tensors.reader import open_tensors

from m3rt.errors import CheckpointError
from m3rt.host.files import replacing_folder

from .model import FIRST_POSITION, Shape, Student

WEIGHTS, TOKENIZER = "pytorch_model.bin", "tokenizer.json"
_SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}


def save(student: Student, tokenizer_json: Mapping[str, Any], directory: Path) -> None:
    """Write the student to another directory, then rename it to `directory`, which it replaces."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    part = directory.with_name(directory.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    with replacing_folder(directory, part) as aside:
        _write(student, tokenizer_json, aside)
        shutil.rmtree(directory, ignore_errors=True)


def _write(student: Student, tokenizer_json: Mapping[str, Any], aside: Path) -> None:
    torch.save(_tensors(student.backbone), aside / WEIGHTS)
    torch.save(_tensors(student.sparse_linear), aside / layout.HEADS["sparse"])
    torch.save(_tensors(student.colbert_linear), aside / layout.HEADS["colbert"])
    shape = student.shape
    files = {
        "config.json": _config(shape),
        TOKENIZER: tokenizer_json,
        "special_tokens_map.json": _SPECIAL_TOKENS,
        "tokenizer_config.json": {
            "tokenizer_class": "XLMRobertaTokenizerFast",
            "model_max_length": shape.positions - FIRST_POSITION,
            **_SPECIAL_TOKENS,
        },
    }
    for name, value in files.items():
        (aside / name).write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def load(directory: Path) -> Student:
    """Read a student, or any XLM-R encoder, from a checkpoint directory; heads that it lacks stay random.

    Raises CheckpointError for another architecture or a tensor that is missing or of another shape.
    """
    config = read_config(directory, directory.name)
    a = config.architecture
    if config.first_position != FIRST_POSITION or config.pooling != "cls" or config.token_types != 1:
        raise CheckpointError(
            f"{directory} is {a.model_type} with {config.pooling} pooling, expected xlm-roberta with cls pooling"
        )
    files = {name: open_tensors(path) for name, file in layout.HEADS.items() if (path := directory / file).is_file()}
    shape = Shape(
        a.vocab_size, a.hidden_size, a.layers, a.heads, a.intermediate_size, config.positions, config.epsilon,
        len(files["colbert"]["weight"]) if "colbert" in files else None,
    )  # fmt: skip
    student = Student(shape)
    parts = [(student.backbone, open_tensors(directory))]
    heads = {"sparse": student.sparse_linear, "colbert": student.colbert_linear}
    parts += [(heads[name], tensors) for name, tensors in files.items()]
    for module, tensors in parts:
        state = {name: torch.tensor(tensors.require(name, tuple(t.shape))) for name, t in module.state_dict().items()}
        module.load_state_dict(state)
    return student


def _tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}


def _config(shape: Shape) -> dict[str, Any]:
    return {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.ffn,
        "max_position_embeddings": shape.positions,
        "layer_norm_eps": shape.epsilon,
        "hidden_act": "gelu",
        "type_vocab_size": 1,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "position_embedding_type": "absolute",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "torch_dtype": "float32",
    }
