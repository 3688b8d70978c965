"""The machine's matrix product rate through onnxruntime, fp32 and u8 x s8: no encoder can run faster.

python benchmarks/gemm.py [--threads N]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from common import regime, report
from onnx import TensorProto, helper, numpy_helper

from m3rt.threads import available_cpus

# The three (K, N) of an encoder layer of BGE-M3, and rows that keep activations in the cache.
WEIGHTS = ((1024, 1024), (1024, 4096), (4096, 1024))
ROWS = (128, 384, 1024)
CHAIN = 4  # products of one call, so that the call itself costs nothing


def rates(threads: int, repeats: int = 5) -> dict[str, float]:
    """Operations a second of each kind of product: the best over shapes and repeats."""
    best = {"fp32": 0.0, "u8s8": 0.0}
    for kind in best:
        for k, n in WEIGHTS:
            session = _session(kind, k, n, threads)
            for rows in ROWS:
                x = np.ones((rows, k), np.uint8 if kind == "u8s8" else np.float32)
                session.run(None, {"x": x})
                for _ in range(repeats):
                    start = time.perf_counter()
                    session.run(None, {"x": x})
                    best[kind] = max(best[kind], 2 * rows * k * n * CHAIN / (time.perf_counter() - start))
    return best


def _session(kind: str, k: int, n: int, threads: int) -> Any:
    draw = np.random.default_rng(0)
    whole = kind == "u8s8"
    nodes, weights, outputs = [], [], []
    if whole:
        weights.append(numpy_helper.from_array(np.array(128, np.uint8), "zero"))
    for i in range(CHAIN):
        values = draw.integers(-127, 128, (k, n)).astype(np.int8) if whole else draw.random((k, n), np.float32)
        weights.append(numpy_helper.from_array(values, f"w{i}"))
        operator, inputs = ("MatMulInteger", ["x", f"w{i}", "zero"]) if whole else ("MatMul", ["x", f"w{i}"])
        nodes.append(helper.make_node(operator, inputs, [f"y{i}"]))
        result = TensorProto.INT32 if whole else TensorProto.FLOAT
        outputs.append(helper.make_tensor_value_info(f"y{i}", result, ["m", n]))
    x = helper.make_tensor_value_info("x", TensorProto.UINT8 if whole else TensorProto.FLOAT, ["m", k])
    graph = helper.make_graph(nodes, "products", [x], outputs, weights)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=available_cpus())
    args = parser.parse_args()
    rows = [{"product": kind, "GOPS": round(rate / 1e9)} for kind, rate in rates(args.threads).items()]
    report("Matrix product", rows, regime(threads=args.threads))


if __name__ == "__main__":
    main()
