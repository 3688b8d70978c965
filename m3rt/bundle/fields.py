"""The values of the manifest's fields: where the weights come from, the model's shape, its graphs and their ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..host.files import FileRecord

Kind = Literal["m3", "dense", "reranker"]
Pooling = Literal["cls", "mean"]
Activation = Literal["sigmoid", "identity"]
Precision = Literal["fp32", "fp16", "int8", "int4"]
EngineName = Literal["onnxruntime", "openvino"]
GraphName = Literal["onnxruntime", "onnxruntime_cuda", "openvino"]  # an engine's graph, or its graph for a device
ON_CUDA: GraphName = "onnxruntime_cuda"
# A session's graph, and its kind of machine where the same graph needs other options.
Target = Literal["onnxruntime", "onnxruntime_cuda", "onnxruntime_x86_without_vnni", "openvino"]
WITHOUT_VNNI: Target = "onnxruntime_x86_without_vnni"  # in bundles whose int8 weights may saturate there
Optimization = Literal["disabled", "basic", "extended", "all"]  # onnxruntime's levels


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of the weights: Hub id or directory name, commit, and the files that were read."""

    id: str
    revision: str | None
    files: Mapping[str, FileRecord]


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of the encoder; `heads` counts attention heads, `colbert_dim` is 0 without a ColBERT head."""

    model_type: str
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    vocab_size: int
    colbert_dim: int = 0


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The ids of special tokens; they never carry a lexical weight."""

    bos: int
    eos: int
    pad: int
    unk: int

    @property
    def unused(self) -> tuple[int, int, int, int]:
        return (self.bos, self.eos, self.pad, self.unk)


@dataclass(frozen=True, slots=True)
class Classifier:
    """How a reranker takes two texts, and what it says of them.

    labels: logits of each pair. activation: what makes a score of a logit where the model's makers say: sigmoid gives
    0 to 1, identity any number. separators: eos tokens between the texts, beside bos before them and eos after them.
    """

    labels: int
    activation: Activation
    separators: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """A vocabulary that lost pieces: the graph and tokenizer.json have ids below `pieces`, in the old order.

    ORIGINAL_IDS holds the id that each piece has in the whole vocabulary. scripts: writing systems with pieces of more
    than one character, such as LATIN; texts in others are split into characters. languages: as the export named them.
    """

    pieces: int
    scripts: tuple[str, ...]
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph: its numpy dtype and shape, free dimensions by name."""

    name: str
    dtype: str
    shape: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph file for each engine that can run the bundle; all have the same ports and the same weights.

    An engine may have a second graph, whose operators are a device's own.
    """

    files: Mapping[GraphName, str]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Session:
    """The options with which an engine opens a graph so that it computes the right vectors, fast on a CPU.

    minimum_version: the oldest version of the engine that was tried and is right. config: entries by name.
    """

    minimum_version: str
    optimization: Optimization
    disabled_optimizers: tuple[str, ...]
    config: Mapping[str, str]
