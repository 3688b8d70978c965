"""Write small random checkpoints in the file layout of BAAI/bge-m3 and its relatives, without torch."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch_archive import write_torch_file

DATA = Path(__file__).parents[1] / "data"
State: TypeAlias = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What sets one kind of checkpoint apart from the others."""

    architecture: str
    model_type: str
    token_types: int
    pad_id: int
    first_position: int
    epsilon: float
    heads: bool = False
    classifier: bool = False


KINDS = {
    "m3": Kind("XLMRobertaModel", "xlm-roberta", 1, 1, 2, 1e-5, heads=True),
    "dense": Kind("XLMRobertaModel", "xlm-roberta", 1, 1, 2, 1e-5),
    "reranker": Kind("XLMRobertaForSequenceClassification", "xlm-roberta", 1, 1, 2, 1e-5, classifier=True),
    "bert": Kind("BertModel", "bert", 2, 0, 0, 1e-12),
    "bert-reranker": Kind("BertForSequenceClassification", "bert", 2, 0, 0, 1e-12, classifier=True),
}


def sentences() -> list[str]:
    """About 130 short sentences in more than 30 languages."""
    return (DATA / "sentences.txt").read_text("utf-8").splitlines()


def write_checkpoint(
    directory: Path, *, kind: str = "m3", layers: int = 2, hidden: int = 32, heads: int = 2, ffn: int = 64,
    vocab: int | None = None, positions: int = 130, seed: int = 0, prefix: str = "", format: str = "bin",
    dtype: str = "float32", pooling: str = "cls", labels: int = 1,
) -> Path:  # fmt: skip
    """Write a random checkpoint with a real tokenizer; equal arguments give equal bytes.

    Args:
        directory: made if it is not there.
        kind: a key of `KINDS`.
        vocab: rows of the word embeddings; None is the tokenizer's size.
        positions: rows of the position embeddings; XLM-R keeps two of them for padding.
        prefix: before each tensor's name, such as "roberta."; a reranker always has its model's own.
        format: a key of `FORMATS`.
        dtype: of the weights, float32 or float16; the heads are float16 as BAAI's.
        pooling: cls or mean.
        labels: of a reranker.

    Returns:
        The directory.
    """
    spec = KINDS[kind]
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = bert_tokenizer() if spec.model_type == "bert" else xlm_roberta_tokenizer()
    vocab = vocab or tokenizer.get_vocab_size()
    max_tokens = positions - spec.first_position
    random = np.random.RandomState(seed)

    state = encoder(random, spec, vocab, positions, layers, hidden, ffn)
    bert = spec.model_type == "bert"
    if spec.classifier:
        prefix = "bert." if bert else "roberta."
    state = {prefix + name: array for name, array in state.items()}
    if spec.classifier:
        inner, outer = ("bert.pooler.dense", "classifier") if bert else ("classifier.dense", "classifier.out_proj")
        state |= linear(random, inner, hidden, hidden) | linear(random, outer, labels, hidden)
    FORMATS[format](directory, {name: array.astype(dtype) for name, array in state.items()})
    if spec.heads:
        for name, rows in (("colbert_linear", hidden), ("sparse_linear", 1)):
            head = linear(random, "head", rows, hidden)
            state = {part: head[f"head.{part}"].astype(np.float16) for part in ("weight", "bias")}
            write_torch_file(directory / f"{name}.pt", state)

    names = {f"LABEL_{i}": i for i in range(labels)} if spec.classifier else {}
    about = {"id2label": {str(i): name for name, i in names.items()}, "label2id": names} if names else {}
    write_json(directory / "config.json", {
        "architectures": [spec.architecture], "model_type": spec.model_type, "hidden_act": "gelu",
        "vocab_size": vocab, "hidden_size": hidden, "intermediate_size": ffn, "num_hidden_layers": layers,
        "num_attention_heads": heads, "max_position_embeddings": positions, "layer_norm_eps": spec.epsilon,
        "type_vocab_size": spec.token_types, "position_embedding_type": "absolute", "torch_dtype": dtype,
        "pad_token_id": spec.pad_id, "bos_token_id": 0, "eos_token_id": 2, "use_cache": True,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, **about,
    })  # fmt: skip
    if not spec.classifier:
        write_sentence_transformers(directory, hidden, max_tokens, pooling)
    write_tokenizer(directory, spec, tokenizer, max_tokens)
    return directory


def encoder(
    random: np.random.RandomState, spec: Kind, vocab: int, positions: int, layers: int, hidden: int, ffn: int
) -> State:
    state = {
        "embeddings.word_embeddings.weight": normal(random, vocab, hidden, std=1.0),
        "embeddings.position_embeddings.weight": normal(random, positions, hidden, std=0.5),
        "embeddings.token_type_embeddings.weight": normal(random, spec.token_types, hidden, std=0.15),
    } | layer_norm(random, "embeddings.LayerNorm", hidden)
    for i in range(layers):
        block = f"encoder.layer.{i}."
        for name in (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
        ):
            state |= linear(random, block + name, hidden, hidden)
        state |= linear(random, block + "intermediate.dense", ffn, hidden)
        state |= linear(random, block + "output.dense", hidden, ffn)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            state |= layer_norm(random, block + name, hidden)
    return state if spec.classifier else state | linear(random, "pooler.dense", hidden, hidden)


def normal(random: np.random.RandomState, *shape: int, std: float) -> np.ndarray[Any, Any]:
    return random.normal(0, std, shape).astype(np.float32)


def linear(random: np.random.RandomState, name: str, rows: int, columns: int) -> State:
    # Ten times BERT's initial scale: at 0.02 all texts come out alike.
    weight = normal(random, rows, columns, std=1.5 / math.sqrt(columns))
    return {f"{name}.weight": weight, f"{name}.bias": normal(random, rows, std=0.05)}


def layer_norm(random: np.random.RandomState, name: str, size: int) -> State:
    return {
        f"{name}.weight": 1 + normal(random, size, std=0.1),
        f"{name}.bias": normal(random, size, std=0.05),
    }


def write_sharded(directory: Path, state: State, stem: str, suffix: str, write: Callable[[Path, State], Any]) -> None:
    names = sorted(state)
    shards = {f"{stem}-0000{i + 1}-of-00002.{suffix}": names[i::2] for i in range(2)}
    for shard, members in shards.items():
        write(directory / shard, {name: state[name] for name in members})
    size = {"total_size": sum(array.nbytes for array in state.values())}
    weight_map = {name: shard for shard, members in shards.items() for name in members}
    write_json(directory / f"{stem}.{suffix}.index.json", {"metadata": size, "weight_map": weight_map})


def write_safetensors(path: Path, state: State) -> None:
    save_file(state, path, metadata={"format": "pt"})


FORMATS: dict[str, Callable[[Path, State], Any]] = {
    "bin": lambda directory, state: write_torch_file(directory / "pytorch_model.bin", state),
    "safetensors": lambda directory, state: write_safetensors(directory / "model.safetensors", state),
    "sharded": lambda directory, state: write_sharded(directory, state, "model", "safetensors", write_safetensors),
    "sharded-bin": lambda directory, state: write_sharded(directory, state, "pytorch_model", "bin", write_torch_file),
}


def write_sentence_transformers(directory: Path, hidden: int, max_tokens: int, pooling: str) -> None:
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write_json(directory / "modules.json", [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(modules)
    ])  # fmt: skip
    write_json(directory / "1_Pooling" / "config.json", {
        "word_embedding_dimension": hidden, "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    })  # fmt: skip
    write_json(directory / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
    versions = {"sentence_transformers": "2.2.2", "transformers": "4.33.0", "pytorch": "2.1.2"}
    write_json(directory / "config_sentence_transformers.json", {"__version__": versions})


def write_tokenizer(directory: Path, spec: Kind, tokenizer: Tokenizer, max_tokens: int) -> None:
    tokenizer.save(str(directory / "tokenizer.json"))
    if spec.model_type == "bert":
        special = {f"{name}_token": f"[{name.upper()}]" for name in ("cls", "sep", "pad", "unk", "mask")}
        config: dict[str, Any] = special | {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
        write_json(directory / "special_tokens_map.json", special)
    else:
        config = json.loads((DATA / "tokenizer" / "tokenizer_config.json").read_text("utf-8"))
        shutil.copy(DATA / "tokenizer" / "special_tokens_map.json", directory)
    write_json(directory / "tokenizer_config.json", config | {"model_max_length": max_tokens})


@cache
def xlm_roberta_tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(DATA / "tokenizer" / "tokenizer.json"))


@cache
def bert_tokenizer() -> Tokenizer:
    """WordPiece over the same sentences: every character, and every word."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer, pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words = {
        word
        for sentence in sentences()
        for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(sentence))
    }
    letters = sorted(set("".join(words)))
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters), *sorted(words - set(letters))]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
