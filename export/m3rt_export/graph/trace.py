"""Architectures that the graph builder does not know: Optimum traces them, and the dense head is added here."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from m3rt.bundle.fields import Graph, Precision
from m3rt.errors import CheckpointError, InputError
from m3rt.host.extras import missing
from m3rt.host.telemetry import silenced

from ..checkpoint.config import SUPPORTED, Config
from .build import GRAPH, WEIGHTS
from .builder import GraphBuilder
from .heads import ports, write_dense
from .operators import leave_directly
from .weights import WeightsFile


def trace(
    checkpoint: Path,
    config: Config,
    precision: Precision,
    dense_only: bool,
    directory: Path,
    progress: Callable[[str], object],
) -> Graph:
    """Write GRAPH and WEIGHTS of an encoder that Optimum can trace: fp32, dense only."""
    kind = config.architecture.model_type
    if not dense_only or precision != "fp32":
        raise InputError(
            f"{checkpoint} is a {kind!r:.60} model, which the graph builder does not know ({', '.join(SUPPORTED)}): "
            "Optimum can export it with --dense-only --precision fp32"
        )
    progress(f"tracing {kind} with Optimum")
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        traced = _traced(checkpoint, Path(scratch))
        opset = next(o.version for o in traced.opset_import if o.domain in ("", "ai.onnx"))
        with WeightsFile(directory / WEIGHTS) as weights:
            g = GraphBuilder(weights, opset)
            g.absorb(traced.graph)
            if any(i.name == "token_type_ids" for i in traced.graph.input):
                # A single sentence is all of token type 0.
                g.prepend("Sub", ["input_ids", "input_ids"], "token_type_ids")
            write_dense(g, config, "last_hidden_state", leave_directly)
    inputs, outputs = ports(config, None)
    onnx.save(g.model(inputs, outputs), directory / GRAPH)
    return Graph({"onnxruntime": GRAPH}, inputs, outputs)


def _traced(checkpoint: Path, scratch: Path) -> Any:
    try:
        with silenced():  # Optimum imports onnxruntime and huggingface_hub
            from optimum.exporters.onnx import main_export
    except ImportError:
        raise CheckpointError(missing(f"to trace {checkpoint}", "Optimum", "optimum")) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer warns about every constant shape
            main_export(
                str(checkpoint),
                scratch,
                task="feature-extraction",
                library_name="transformers",
                do_validation=False,
                no_post_process=True,
            )
    except Exception as error:  # Optimum, transformers and torch each raise their own classes
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{checkpoint} cannot be traced by Optimum: {reason!r:.300}") from error
    return onnx.load(scratch / GRAPH)
