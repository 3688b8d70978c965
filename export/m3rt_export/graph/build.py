"""The whole model as ONNX graphs, one for each engine, written from the checkpoint's tensors without tracing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from m3rt.bundle.fields import ON_CUDA, EngineName, Graph, GraphName, Precision

from ..checkpoint.config import Config
from .attention import fused_attention, packed_attention, standard_attention
from .batch import Batch, Picked, batch, packed
from .builder import GraphBuilder
from .calibrate import calibrate
from .classifier import ClassifierTensors, classifier_ports, write_logits
from .heads import HeadTensors, ports, wanted_rows, write_heads
from .int4_linear import Int4Linear
from .int8_linear import Int8Linear, StandardInt8Linear
from .joints import FusedJoints
from .layers import UNCALIBRATED, Activations, EmbeddingTables, Fetch, LayerTensors, embedding_tables, embeddings, layer
from .lookup import int4_lookup, int8_lookup, standard_int8_lookup
from .operators import Operators, float_operators, leave_directly, leave_through_identity
from .weights import WeightsFile

GRAPH = "model.onnx"
WEIGHTS = "weights.bin"
GRAPHS: dict[GraphName, str] = {
    "onnxruntime": GRAPH,
    "onnxruntime_cuda": "model.cuda.onnx",
    "openvino": "model.openvino.onnx",
}
OPERATORS: Mapping[Precision, Mapping[GraphName, Operators]] = {
    "fp32": {
        "onnxruntime": float_operators(np.float32, fused_attention),
        "openvino": float_operators(np.float32, standard_attention),
    },
    "fp16": {
        "onnxruntime": float_operators(np.float16, fused_attention),
        "onnxruntime_cuda": float_operators(np.float16, packed_attention)._replace(joints=FusedJoints(), packed=True),
    },
    "int8": {
        "onnxruntime": Operators(int8_lookup, Int8Linear(), fused_attention, leave_directly),
        "openvino": Operators(standard_int8_lookup, StandardInt8Linear(), standard_attention, leave_through_identity),
    },
    "int4": {"onnxruntime": Operators(int4_lookup, Int4Linear(), fused_attention, leave_directly)},
}


def build(
    fetch: Fetch,
    config: Config,
    heads: HeadTensors | ClassifierTensors | None,
    precision: Precision,
    engines: Sequence[EngineName],
    directory: Path,
    progress: Callable[[str], object],
    kept: NDArray[np.int64] | None = None,
) -> Graph:
    """Write each engine's graphs and WEIGHTS into `directory`, which holds tokenizer.json for calibration.

    kept: the rows of the word table to write, None for all. Calibration uses all.

    Reads one layer at a time, so that peak memory is that of a few layers for a model of any size.
    """
    activations: Iterator[Activations] = repeat(UNCALIBRATED)
    if precision in ("int8", "int4"):
        activations = calibrate(fetch, config, directory)
    with WeightsFile(directory / WEIGHTS) as weights:
        progress("embeddings")
        tables = embedding_tables(fetch, config)
        if kept is not None:
            tables = tables._replace(words=tables.words[kept])
        names: list[GraphName] = [*engines, *([ON_CUDA] if "onnxruntime" in engines else [])]
        chosen = {name: OPERATORS[precision][name] for name in names if name in OPERATORS[precision]}
        writers = {name: _Writer(weights, operators, config, heads, tables) for name, operators in chosen.items()}
        del tables
        count = config.architecture.layers
        for index in range(count):
            progress(f"layer {index + 1} of {count}")
            tensors, calibrated = LayerTensors.read(fetch, config, index), next(activations)
            for writer in writers.values():
                writer.layer(index, tensors, calibrated)
        for writer in writers.values():
            writer.heads(heads)
    inputs, outputs = classifier_ports(config) if isinstance(heads, ClassifierTensors) else ports(config, heads)
    for name, writer in writers.items():
        onnx.save(writer.graph.model(inputs, outputs), directory / GRAPHS[name])
    return Graph({name: GRAPHS[name] for name in writers}, inputs, outputs)


class _Writer:
    """Writes one graph, layer by layer."""

    def __init__(
        self,
        weights: WeightsFile,
        operators: Operators,
        config: Config,
        heads: HeadTensors | ClassifierTensors | None,
        tables: EmbeddingTables,
    ) -> None:
        self.graph = GraphBuilder(weights)
        self._operators = operators
        self._config = config
        self._batch: Batch = batch(self.graph, config)
        self._x = embeddings(self.graph, operators, tables, config, self._batch)
        if operators.packed:
            self._batch, self._x = packed(self.graph, self._batch, self._x)
        embedded = None if isinstance(heads, ClassifierTensors) else heads
        self._wanted: Picked = wanted_rows(self.graph, config, self._batch, embedded)

    def layer(self, index: int, tensors: LayerTensors, activations: Activations) -> None:
        last = index == self._config.architecture.layers - 1
        picked = self._wanted if last else self._batch.all
        with self.graph.scope(f"layer_{index}"):
            self._x, _ = layer(
                self.graph, self._operators, tensors, self._config, self._batch, self._x, picked, activations
            )

    def heads(self, heads: HeadTensors | ClassifierTensors | None) -> None:
        with self.graph.scope("heads"):
            if isinstance(heads, ClassifierTensors):
                write_logits(self.graph, self._operators, self._config, self._wanted, self._x, heads)
                return
            write_heads(self.graph, self._operators.leave, self._config, self._wanted, self._x, heads)
