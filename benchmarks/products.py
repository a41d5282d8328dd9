"""What products of large matrices reach in the runtimes that are here: the ceiling of any engine."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from benchmarks.machine import matmul_flops
from serving.engine import openvino as openvino_engine


def product_ops(precision: str, size: tuple[int, int, int] = (1024, 1024, 4096), repeats: int = 8) -> float:
    """Operations a second of the best of several (m, k) x (k, n) products, in the best of the runtimes that are here.

    In ``int8`` unsigned numbers are multiplied with signed ones, both rounded beforehand.
    """
    rows, inner, columns = size
    best = matmul_flops(size, "fp32", cpu=True, repeats=repeats) if precision == "fp32" else 0.0
    given = {"x": np.random.default_rng(0).standard_normal((rows, inner)).astype(np.float32)}
    for run in _product_runs(_product(precision, inner, columns), given):
        run()
        for _ in range(repeats):
            started = time.perf_counter()
            run()
            best = max(best, 2.0 * rows * inner * columns / (time.perf_counter() - started))
    return best


def _product(precision: str, inner: int, columns: int) -> bytes:
    """A graph of one product with a constant matrix."""
    random = np.random.default_rng(1)
    nodes, initializers = [], {}
    if precision == "int8":
        initializers = {
            "w8": random.integers(-127, 127, (inner, columns)).astype(np.int8),
            "sw": np.full(columns, 0.01, np.float32), "zw": np.zeros(columns, np.int8),
            "sx": np.float32(0.03), "zx": np.uint8(128),
        }  # fmt: skip
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
            helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"]),
            helper.make_node("DequantizeLinear", ["w8", "sw", "zw"], ["wd"], axis=1),
            helper.make_node("MatMul", ["xd", "wd"], ["y"]),
        ]
    else:
        initializers = {"w": random.standard_normal((inner, columns)).astype(np.float32)}
        nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["m", inner])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["m", columns])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in initializers.items()],
    )
    opset = [helper.make_opsetid("", 21)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


def _product_runs(graph: bytes, given: dict[str, np.ndarray]) -> Iterator[Callable[[], object]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    yield lambda: session.run(None, given)
    if openvino_engine.why_not() is None:
        import openvino

        settings = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
        core = openvino.Core()
        request = core.compile_model(core.read_model(graph), "CPU", settings).create_infer_request()
        yield lambda: request.infer(given, share_inputs=True, share_outputs=True)
