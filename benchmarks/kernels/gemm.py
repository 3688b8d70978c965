"""The machine's rate of matrix products through onnxruntime, fp32 and u8 x s8: no encoder can run faster.

python -m benchmarks.kernels.gemm [--threads N]
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ..common import add_threads, options, regime, report, require

# The three (K, N) of an encoder layer of BGE-M3, and numbers of rows that keep activations in the cache.
WEIGHT_SHAPES = ((1024, 1024), (1024, 4096), (4096, 1024))
ACTIVATION_ROWS = (128, 384, 1024)
PRODUCTS_PER_CALL = 4  # so that the call itself costs nothing
CALLS = 5


def rates(threads: int, calls: int = CALLS) -> dict[str, float]:
    """Return operations a second for each kind of product: the best over shapes and calls."""
    require("onnx")
    best = {"fp32": 0.0, "u8s8": 0.0}
    for kind in best:
        for k, n in WEIGHT_SHAPES:
            session = _session(kind, k, n, threads)
            for rows in ACTIVATION_ROWS:
                x = np.ones((rows, k), np.uint8 if kind == "u8s8" else np.float32)
                session.run(None, {"x": x})
                for _ in range(calls):
                    start = time.perf_counter()
                    session.run(None, {"x": x})
                    operations = 2 * rows * k * n * PRODUCTS_PER_CALL
                    best[kind] = max(best[kind], operations / (time.perf_counter() - start))
    return best


def _session(kind: str, k: int, n: int, threads: int) -> Any:
    """Make a session whose graph multiplies x (m, k) by each of PRODUCTS_PER_CALL weights (k, n)."""
    import onnxruntime as ort
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    draw = np.random.default_rng(0)
    quantized = kind == "u8s8"
    nodes, weights, outputs = [], [], []
    if quantized:
        weights.append(numpy_helper.from_array(np.array(128, np.uint8), "zero"))
    for i in range(PRODUCTS_PER_CALL):
        values = draw.integers(-127, 128, (k, n)).astype(np.int8) if quantized else draw.random((k, n), np.float32)
        weights.append(numpy_helper.from_array(values, f"w{i}"))
        operator, inputs = ("MatMulInteger", ["x", f"w{i}", "zero"]) if quantized else ("MatMul", ["x", f"w{i}"])
        nodes.append(helper.make_node(operator, inputs, [f"y{i}"]))
        result = TensorProto.INT32 if quantized else TensorProto.FLOAT
        outputs.append(helper.make_tensor_value_info(f"y{i}", result, ["m", n]))
    x = helper.make_tensor_value_info("x", TensorProto.UINT8 if quantized else TensorProto.FLOAT, ["m", k])
    graph = helper.make_graph(nodes, "products", [x], outputs, weights)
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 4  # fatal errors only
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def main() -> None:
    parser = options(__doc__)
    add_threads(parser)
    args = parser.parse_args()
    rows = [{"product": kind, "GOPS": round(rate / 1e9)} for kind, rate in rates(args.threads).items()]
    report("Matrix product", rows, regime(threads=args.threads))


if __name__ == "__main__":
    main()
