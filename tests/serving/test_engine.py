from pathlib import Path

import numpy as np
import pytest

from data.bundle import Bundle
from data.errors import GoldenMismatch
from serving.engine.onnx import OnnxEngine
from serving.errors import ModelUnavailable
from serving.model import Model
from tests.models import write_bundle


def test_rows_come_back_in_order_and_alone_or_together_alike(bundle: Bundle) -> None:
    engine = OnnxEngine(bundle.graph, bundle.encoder.pad_id, threads=1)
    generator = np.random.default_rng(1)
    rows = [[2, *generator.integers(5, 60, size=generator.integers(1, 40)).tolist(), 3] for _ in range(150)]
    together = engine.logits(rows)
    alone = np.concatenate([engine.logits([row]) for row in rows])
    order = generator.permutation(len(rows))
    shuffled = engine.logits([rows[index] for index in order])
    assert np.ptp(together[:, 0]) > 0.1
    assert np.abs(together - alone).max() < 1e-4
    assert np.abs(together[order] - shuffled).max() < 1e-4


def test_a_broken_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelUnavailable, match=r"model\.onnx cannot be loaded"):
        OnnxEngine(tmp_path / "model.onnx", 0)


def test_a_model_that_does_not_reproduce_its_golden_samples_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_bundle(tmp_path / "bundle", seed=5).folder
    honest = OnnxEngine.logits
    monkeypatch.setattr(OnnxEngine, "logits", lambda self, rows: honest(self, rows) + np.array([0.0, 0.5], np.float32))
    with pytest.raises(GoldenMismatch, match="golden sample 0"):
        Model.load(folder, tag="x")
