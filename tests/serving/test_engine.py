"""Each runtime answers like the model, in order, and a review's answer is its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.bundle import Bundle
from serving.engine import Engine, Layout
from serving.engine.onnx import OnnxEngine
from serving.engine.openvino import OpenVinoEngine
from serving.engine.packed import PackedEngine
from serving.engine.schedule import Cut, Schedule
from serving.errors import EngineFailed
from tests.models import lively
from training.predict import logits

Start = Callable[[Bundle, Layout], Engine]


def start_onnx(bundle: Bundle, layout: Layout) -> Engine:
    return OnnxEngine(bundle.graph("fp32"), bundle.encoder.pad_id, "fp32", layout)


def start_openvino(bundle: Bundle, layout: Layout) -> Engine:
    return OpenVinoEngine(bundle.graph("fp32"), bundle.encoder.pad_id, "fp32", layout)


def start_packed(bundle: Bundle, layout: Layout) -> Engine:
    return PackedEngine(bundle.graph("fp32"), bundle.encoder.pad_id, "fp32", layout, device="cpu")


def start_onnx_int8(bundle: Bundle, layout: Layout) -> Engine:
    return OnnxEngine(bundle.graph("int8"), bundle.encoder.pad_id, "int8", layout)


def start_openvino_int8(bundle: Bundle, layout: Layout) -> Engine:
    return OpenVinoEngine(bundle.graph("int8"), bundle.encoder.pad_id, "int8", layout)


FULL = [start_onnx, start_openvino, start_packed]
EIGHT_BITS = [start_onnx_int8, start_openvino_int8]


def rows(count: int = 150) -> list[list[int]]:
    generator = np.random.default_rng(1)
    return [[2, *generator.integers(5, 60, size=generator.integers(1, 40)).tolist(), 3] for _ in range(count)]


@pytest.mark.parametrize("start", FULL)
def test_a_runtime_answers_like_the_model(bundle: Bundle, start: Start) -> None:
    model, _ = lively(seed=0)
    found, expected = start(bundle, Layout()).logits(rows()), logits(model, rows(), 0)
    assert found.dtype == np.float32
    assert np.ptp(expected[:, 0]) > 0.1, "the answers differ, so that a wrong mask or order would show"
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("start", EIGHT_BITS)
def test_runtimes_agree_on_eight_bits(bundle: Bundle, start: Start) -> None:
    found, expected = start(bundle, Layout()).logits(rows()), start_onnx_int8(bundle, Layout()).logits(rows())
    full = start_onnx(bundle, Layout()).logits(rows())
    assert np.abs(found - expected).mean() < 0.1 * np.abs(full - expected).mean() + 1e-3


@pytest.mark.parametrize("layout", [Layout(1, 1), Layout(2, 1), Layout(1, 2)])
@pytest.mark.parametrize("start", [*FULL, *EIGHT_BITS])
def test_rows_come_back_in_order_and_alone_or_together_alike(bundle: Bundle, start: Start, layout: Layout) -> None:
    engine, some = start(bundle, layout), rows()
    schedule = Schedule(engine, Cut(256))
    together = schedule.logits(some)
    alone = np.concatenate([engine.logits([row]) for row in some])
    order = np.random.default_rng(2).permutation(len(some))
    shuffled = schedule.logits([some[index] for index in order])
    assert np.ptp(together[:, 0]) > 0.1
    assert np.abs(together - alone).max() < 1e-4
    assert np.abs(together[order] - shuffled).max() < 1e-4
    schedule.close()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_without_padding_is_near_the_full_one(bundle: Bundle, precision: str) -> None:
    full = start_packed(bundle, Layout()).logits(rows())
    found = PackedEngine(bundle.graph("fp32"), 0, precision, device="cpu").logits(rows())
    assert 0.0 < np.abs(found - full).mean() < 0.1 * np.ptp(full)


FIRST_CALLS = """
import sys, threading
from pathlib import Path
from serving.engine import Layout
from serving.engine.openvino import OpenVinoEngine
sys.setswitchinterval(1e-6)
engine, together = OpenVinoEngine(Path(sys.argv[1]), 0, layout=Layout(2, 1)), threading.Barrier(2)
threads = [threading.Thread(target=lambda: (together.wait(), engine.logits([[2, 3]]))) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_the_first_two_calls_of_a_process_may_come_at_once(bundle: Bundle) -> None:
    """They waited for each other for ever in OpenVINO's binding, five times of six at this switch interval."""
    for _ in range(2):
        subprocess.run([sys.executable, "-c", FIRST_CALLS, bundle.graph("fp32")], check=True, timeout=60)


@pytest.mark.parametrize("engine", [OnnxEngine, OpenVinoEngine])
def test_a_broken_graph_is_refused(tmp_path: Path, engine: type[OnnxEngine | OpenVinoEngine]) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineFailed, match=r"model\.onnx cannot be loaded by"):
        engine(tmp_path / "model.onnx", 0)


def test_a_broken_graph_is_refused_without_padding_too(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineFailed, match=r"model\.onnx is no graph of this project"):
        PackedEngine(tmp_path / "model.onnx", 0, "fp32", device="cpu")


def test_a_run_that_fails_is_an_error_of_the_engine(bundle: Bundle) -> None:
    with pytest.raises(EngineFailed, match="onnxruntime-cpu failed on 1 rows"):
        start_onnx(bundle, Layout()).logits([[2, 10**6, 3]])  # no such token
