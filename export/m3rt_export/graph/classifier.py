"""A reranker's head: two maps of <s>, a tanh between them, and their output, the logits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from m3rt.bundle.fields import Port

from ..checkpoint.config import BERT, Config
from .batch import Picked
from .builder import GraphBuilder
from .heads import INPUTS
from .layers import Fetch
from .linear import Dense
from .operators import Operators

# The names of both maps: BERT's first one is its pooler.
_OF_BERT, _OF_ROBERTA = ("pooler.dense", "classifier"), ("classifier.dense", "classifier.out_proj")


class ClassifierTensors(NamedTuple):
    """The map (hidden, hidden) before tanh and the one (labels, hidden) after it, float32."""

    inner: Dense
    outer: Dense


def read_classifier_tensors(fetch: Fetch, config: Config) -> ClassifierTensors:
    """Read both maps, whose shapes config.json implies. Raises CheckpointError."""
    assert config.classifier is not None
    hidden, labels = config.architecture.hidden_size, config.classifier.labels
    inner, outer = _OF_BERT if config.architecture.model_type in BERT else _OF_ROBERTA
    return ClassifierTensors(
        Dense(fetch(f"{inner}.weight", (hidden, hidden)), fetch(f"{inner}.bias", (hidden,))),
        Dense(fetch(f"{outer}.weight", (labels, hidden)), fetch(f"{outer}.bias", (labels,))),
    )


def classifier_ports(config: Config) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The graph's inputs and outputs.

    Token types are an input: a text may hold [SEP] itself, so that the ids alone do not say where the second starts.
    """
    assert config.classifier is not None
    types = (Port("token_type_ids", "int64", ("batch", "tokens")),) if config.segments else ()
    return (*INPUTS, *types), (Port("logits", "float32", ("batch", config.classifier.labels)),)


def write_logits(
    g: GraphBuilder, operators: Operators, config: Config, wanted: Picked, hidden: str, head: ClassifierTensors
) -> None:
    """logits (b, labels) from <s> of each pair, which `hidden` (b, hidden) has alone, computed in float32."""
    assert head.inner.bias is not None
    assert head.outer.bias is not None
    first = operators.leave(g, g.cast(hidden, np.float32), config.architecture.hidden_size)
    with g.scope("logits"):
        weight, bias = g.weight(np.ascontiguousarray(head.inner.weight.T)), g.weight(head.inner.bias)
        inner = g.op("Tanh", g.op("Add", g.op("MatMul", first, weight), bias))
        # A sum, not a matrix product, which OpenVINO may round to bf16: logits near each other would become one.
        products = g.op("Mul", g.op("Unsqueeze", inner, g.constant([1], np.int64)), g.weight(head.outer.weight))
        total = g.op("ReduceSum", products, g.constant([2], np.int64), keepdims=0)
        g.output(g.op("Add", total, g.weight(head.outer.bias)), "logits")
