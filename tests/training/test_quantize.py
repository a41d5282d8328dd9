from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from data.encode import pad
from data.probability import Calibration
from serving.engine.onnx import OnnxEngine
from tests.models import BACKBONE
from training import model as models
from training import quantize
from training.config import Architecture, Backbone
from training.export import export_onnx
from training.graph import HEAD_PRODUCTS
from training.precision import stability


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of a model large enough for its tables and products to be nearly all of it, in three precisions."""
    folder = tmp_path_factory.mktemp("graphs")
    architecture = Architecture(layers=2, hidden=128, heads=4, embedding=64, feed_forward=256, vocabulary=600)
    words = [f"낱말{number}" for number in range(2_000)]
    model = models.build(Backbone(BACKBONE.name, architecture=architecture), words).model
    for name, parameter in model.named_parameters():
        if "LayerNorm" not in name:
            parameter.data.mul_(3.0)
    export_onnx(model, folder / "full")
    quantize.static(folder / "full", folder / "static", (pad(rows(8, seed=seed), 0) for seed in range(20)))
    quantize.dynamic(folder / "full", folder / "dynamic")
    return folder


def rows(count: int, seed: int) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [[2, *generator.integers(5, 500, size=generator.integers(1, 30)).tolist(), 3] for _ in range(count)]


def judge(graph: Path) -> Callable[..., np.ndarray]:
    engine = OnnxEngine(graph, 0)
    return lambda some: Calibration().positive(engine.logits(some))


def test_weights_are_in_eight_bits(folder: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    for name in ("static", "dynamic"):
        graph = onnx.load(folder / name)
        large = [each for each in graph.graph.initializer if np.prod(each.dims) > 1_000]
        kinds = {each.data_type for each in large if not each.name.startswith("head.")}
        assert kinds <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
        assert sizes[name] < 0.35 * sizes["full"], "a small model: nodes and scales take their share"


@pytest.mark.parametrize("name", ["static", "dynamic"])
def test_answers_are_nearly_the_same(folder: Path, name: str) -> None:
    some = rows(200, seed=99)
    full, found = judge(folder / "full")(some), judge(folder / name)(some)
    assert np.ptp(full) > 0.05
    assert 0.0 < np.abs(full - found).max() < 0.1 * np.ptp(full) + 0.01


def test_only_fixed_ranges_leave_a_review_to_itself(folder: Path) -> None:
    some = rows(200, seed=99)
    assert stability(judge(folder / "static"), some).probability_difference < 1e-6
    assert stability(judge(folder / "dynamic"), some).probability_difference > 1e-4


def test_what_is_computed_row_by_row_is_rounded_no_more(folder: Path) -> None:
    """One row is multiplied otherwise than several, so nothing after that may be rounded to steps."""
    graph = onnx.load(folder / "static").graph
    products = [node for node in graph.node if node.name in HEAD_PRODUCTS]
    made_by = {output: node for node in graph.node for output in node.output}
    assert len(products) == len(HEAD_PRODUCTS)
    for product in products:
        assert not any(made_by[name].op_type == "DequantizeLinear" for name in product.input if name in made_by)
