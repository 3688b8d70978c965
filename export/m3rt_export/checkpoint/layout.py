"""The files of a checkpoint by name: the layout of transformers, Sentence Transformers and BGE-M3.

The encoder's files lie in the checkpoint's folder, or in one inside it that modules.json names.
Source: save_pretrained of transformers, SentenceTransformer.save, FlagEmbedding's BGEM3FlagModel.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

# In the encoder's folder.
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
ADDED_TOKENS = "added_tokens.json"
# Sentence Transformers' settings of its encoder: the first of these files that exists is read.
SETTINGS = tuple(
    f"sentence_{name}_config.json" for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta")
)
ENCODER_CONFIGS = (CONFIG, TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS, ADDED_TOKENS, *SETTINGS)
# Vocabularies that tokenizer.json can be made from; they are never read here.
SLOW_TOKENIZERS = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "vocab.txt", "vocab.json")

# In the checkpoint's folder.
MODULES = "modules.json"
PROMPTS = "config_sentence_transformers.json"
ADAPTER = "adapter_config.json"
HEADS = {"sparse": "sparse_linear.pt", "colbert": "colbert_linear.pt"}

# Folders in it.
POOLING_FOLDER = "1_Pooling"
POOLING_FOLDERS = "?_Pooling"  # a pattern: modules.json numbers its modules
OLD_ENCODER_FOLDER = "0_Transformer"  # where Sentence Transformers once kept the encoder


class Weights(NamedTuple):
    """One way to store an encoder's weights: a file, which may be the index of shards named by a pattern."""

    file: str
    shards: str | None = None


# In the encoder's folder, in order of preference.
WEIGHTS = (
    Weights("model.safetensors"),
    Weights("model.safetensors.index.json", "model-*.safetensors"),
    Weights("pytorch_model.bin"),
    Weights("pytorch_model.bin.index.json", "pytorch_model-*.bin"),
)


def needed_files(available: Iterable[str], *, dense_only: bool) -> list[str]:
    """Choose the files that an export reads from those of a repository: one set of weights, and the heads if wanted."""
    names = list(available)
    old = f"{OLD_ENCODER_FOLDER}/"
    patterns = [*ENCODER_CONFIGS, *(old + name for name in ENCODER_CONFIGS)]
    patterns += [MODULES, f"{POOLING_FOLDERS}/{CONFIG}", PROMPTS, ADAPTER]
    patterns += () if dense_only else HEADS.values()
    weights = [(folder, row) for folder in ("", old) for row in WEIGHTS if folder + row.file in names]
    patterns += [folder + name for folder, row in weights[:1] for name in row if name]
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
