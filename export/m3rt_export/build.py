"""The whole model as one ONNX graph, written straight from the checkpoint's tensors (no tracing)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import onnx

from m3rt.manifest import Graph, Precision

from .calibrate import calibrate
from .config import Config
from .graph import GraphBuilder
from .heads import HeadTensors, ports, wanted_rows, write_heads
from .layers import Fetch, LayerTensors, Ranges, batch, embedding_tables, embeddings, layer
from .linear import LINEARS
from .weights import WeightsFile

GRAPH = "model.onnx"
WEIGHTS = "weights.bin"


def build(
    fetch: Fetch,
    config: Config,
    heads: HeadTensors | None,
    precision: Precision,
    directory: Path,
    progress: Callable[[str], object],
) -> Graph:
    """Write GRAPH and WEIGHTS into `directory`, which already holds tokenizer.json for calibration.

    Reads one layer at a time, so that peak memory is a few layers whatever the model's size.
    """
    linear = LINEARS[precision]
    ranges: Iterator[Ranges | None] = repeat(None)
    if precision == "int8":
        ranges = calibrate(fetch, config, directory)
    with WeightsFile(directory / WEIGHTS) as weights:
        g = GraphBuilder(weights)
        b = batch(g, config)
        progress("embeddings")
        x = embeddings(g, linear, embedding_tables(fetch, config), config, b)
        wanted = wanted_rows(g, config, b, heads)
        last = config.architecture.layers - 1
        for index in range(last + 1):
            progress(f"layer {index + 1} of {last + 1}")
            with g.scope(f"layer_{index}"):
                tensors = LayerTensors.read(fetch, config, index)
                picked = wanted if index == last else b.all
                x, _ = layer(g, linear, tensors, config, b, x, picked, next(ranges))
        with g.scope("heads"):
            write_heads(g, config, wanted, x, heads)
    inputs, outputs = ports(config, heads)
    onnx.save(g.model(inputs, outputs), directory / GRAPH)
    return Graph(GRAPH, inputs, outputs)
